package source

import "fmt"

// CheckSelection refuses options for which a file with this number of records is too short: a first record after the last
// one, or a canary (0 means none) that leaves no records. A file without records is valid, unless a record is selected.
// The error is a *Refusal of the kind NotInFile.
func CheckSelection(file string, records, startAt int64, canary int) error {
	refuse := func(reason string) error { return &Refusal{File: file, Reason: reason, Kind: NotInFile} }
	selected := records - max(startAt, 1) + 1
	switch {
	case startAt > 1 && records == 0:
		return refuse(fmt.Sprintf("--start-at is %d, and the file has no records; leave --start-at out, or check the export", startAt))
	case startAt > 1 && selected < 1:
		return refuse(fmt.Sprintf("--start-at is %d, and the last record of the file is %d; expected 1 to %d", startAt, records, records))
	case canary == 0 || selected < 1 || int64(canary) < selected:
		return nil
	case selected == 1:
		return refuse(fmt.Sprintf("--canary is %d, and there is one record to load; leave --canary out", canary))
	}
	return refuse(fmt.Sprintf("--canary is %d, and there are %d records to load: all would be loaded before the approval; expected 1 to %d, or leave --canary out", canary, selected, selected-1))
}
