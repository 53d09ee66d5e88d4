// Command cmd writes a CSV file of invented users to standard output.
//
//	go run ./internal/invent/cmd --records 500 --seed 1 --awkward > testdata/users.csv
package main

import (
	"flag"
	"fmt"
	"os"

	"durable-dataload/internal/invent"
)

func main() {
	records := flag.Int64("records", 500, "number of records")
	seed := flag.Uint64("seed", 1, "the same seed gives the same file")
	awkward := flag.Bool("awkward", false, "with everything that troubles readers, and a few records that are wrong")
	flag.Parse()
	if flag.NArg() > 0 || *records < 0 {
		fmt.Fprintln(os.Stderr, "expected --records N --seed S [--awkward], and nothing else")
		os.Exit(2)
	}
	if err := invent.Write(os.Stdout, invent.Options{Records: *records, Seed: *seed, Awkward: *awkward}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
