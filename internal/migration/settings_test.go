package migration

import (
	"fmt"
	"strings"
	"testing"
)

func TestMaxFailed(t *testing.T) {
	for _, tc := range []struct {
		text    string
		of      int
		want    int
		limited bool
	}{
		{"", 1000, 0, false}, {" ", 1000, 0, false},
		{"0", 10, 0, true}, {"3", 10, 3, true}, {"30", 10, 30, true},
		{"0%", 10, 0, true}, {"2%", 100, 2, true}, {"2%", 149, 2, true}, {" 2.5 %", 200, 5, true}, {"100%", 10, 10, true},
	} {
		m, err := ParseMaxFailed(tc.text)
		if err != nil {
			t.Errorf("%q: %v", tc.text, err)
			continue
		}
		if got, limited := m.Of(tc.of); got != tc.want || limited != tc.limited {
			t.Errorf("%q of %d records: %d, %t, want %d, %t", tc.text, tc.of, got, limited, tc.want, tc.limited)
		}
	}
	for _, text := range []string{"-1", "some", "101%", "-1%", "%", "NaN%", "1.5", "2 percent"} {
		if m, err := ParseMaxFailed(text); err == nil || !strings.Contains(err.Error(), "expected") {
			t.Errorf("%q is read as %+v (%v), want an error that says what was expected", text, m, err)
		}
	}
}

func TestAPartOfTheRecordsIsExact(t *testing.T) {
	for _, records := range []int{1, 7, 50, 99, 100, 101, 1000, 9999, 10_000, 123_456_789} {
		for hundredths := range 10_001 {
			m, err := ParseMaxFailed(fmt.Sprintf("%d.%02d%%", hundredths/100, hundredths%100))
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := m.Of(records); got != hundredths*records/10_000 {
				t.Fatalf("%d/100 %% of %d records: %d, want %d", hundredths, records, got, hundredths*records/10_000)
			}
		}
	}
}

func TestSettingsAreChecked(t *testing.T) {
	read := map[string]func(string) error{
		SettingRate:    func(s string) error { _, err := ParseRate(s); return err },
		SettingWorkers: func(s string) error { _, err := ParseWorkers(s); return err },
		SettingBreaker: func(s string) error { _, err := ParseBreaker(s); return err },
	}
	for name, good := range map[string][]string{
		SettingRate: {"0", "0.001", "4", " 8.5 ", "100000"}, SettingWorkers: {"1", "1000"}, SettingBreaker: {"0", "5"},
	} {
		for _, text := range good {
			if err := read[name](text); err != nil {
				t.Errorf("%s=%s: %v", name, text, err)
			}
		}
	}
	for name, bad := range map[string][]string{
		SettingRate: {"", "-1", "0.0001", "100001", "NaN", "Inf", "fast", "4/s"}, SettingWorkers: {"", "0", "1001", "2.5"}, SettingBreaker: {"-1", "x"},
	} {
		for _, text := range bad {
			if err := read[name](text); err == nil || !strings.Contains(err.Error(), "expected") {
				t.Errorf("%s=%s: %v, want an error that says what was expected", name, text, err)
			}
		}
	}
}
