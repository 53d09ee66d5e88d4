package limiter

import (
	"math"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"
)

func TestWhatAPlanAllows(t *testing.T) {
	const office = "mon-fri 08:00-18:00 2/s; else 10/s"
	inf := math.Inf(1)
	for _, c := range []struct {
		plan, at string
		rate     float64
		until    string // "" = it never changes
	}{
		{"", "2026-11-23 12:00 UTC", inf, ""},
		{office, "2026-11-23 07:59 UTC", 10, "2026-11-23 08:00 UTC"},
		{office, "2026-11-23 08:00 UTC", 2, "2026-11-23 18:00 UTC"},
		{office, "2026-11-23 17:59 UTC", 2, "2026-11-23 18:00 UTC"},
		{office, "2026-11-27 18:00 UTC", 10, "2026-11-30 08:00 UTC"}, // Friday to Monday
		{"mon-fri 08:00-18:00 2/s", "2026-11-28 12:00 UTC", inf, "2026-11-30 08:00 UTC"},
		{"zone Europe/Berlin; " + office, "2026-11-23 07:00 UTC", 2, "2026-11-23 17:00 UTC"},
		{"zone America/New_York; " + office, "2026-11-23 12:59 UTC", 10, "2026-11-23 13:00 UTC"},
		{"30/min", "2026-11-23 12:00 UTC", 0.5, ""},
		{"36/h", "2026-11-23 12:00 UTC", 0.01, ""},
		{"DAILY 08:00-09:00 off; Else 1/S", "2026-11-23 08:30 UTC", 0, "2026-11-23 09:00 UTC"},
		{"sat,sun 0/s", "2026-11-28 00:00 UTC", 0, "2026-11-30 00:00 UTC"},
		{"fri-mon off", "2026-11-22 12:00 UTC", 0, "2026-11-24 00:00 UTC"},
		// The first that matches counts.
		{"mon 12:00-13:00 off; mon 1/s; else 5/s", "2026-11-23 12:30 UTC", 0, "2026-11-23 13:00 UTC"},
		{"mon 12:00-13:00 off; mon 1/s; else 5/s", "2026-11-23 13:00 UTC", 1, "2026-11-24 00:00 UTC"},
		// It belongs to the day on which it begins.
		{"sat 22:00-06:00 off; else 1/s", "2026-11-29 05:59 UTC", 0, "2026-11-29 06:00 UTC"},
		{"sat 22:00-06:00 off; else 1/s", "2026-11-28 05:59 UTC", 1, "2026-11-28 22:00 UTC"},
		{"sat 22:00-06:00 off; else 1/s", "2026-11-29 22:00 UTC", 1, "2026-12-05 22:00 UTC"},
		{"sat 18:00-24:00 off; else 1/s", "2026-11-28 23:59 UTC", 0, "2026-11-29 00:00 UTC"},
		{"sat 18:00-00:00 off; else 1/s", "2026-11-28 23:59 UTC", 0, "2026-11-29 00:00 UTC"},
		// In Berlin the clock goes from 02:00 to 03:00 on 2026-03-29, and from
		// 03:00 to 02:00 on 2026-10-25.
		{"zone Europe/Berlin; daily 01:00-04:00 off; else 1/s", "2026-03-29 00:30 UTC", 0, "2026-03-29 02:00 UTC"},
		{"zone Europe/Berlin; daily 01:00-04:00 off; else 1/s", "2026-10-25 00:30 UTC", 0, "2026-10-25 03:00 UTC"},
		{"zone Europe/Berlin; daily 02:00-03:00 off; else 1/s", "2026-03-29 00:30 UTC", 1, "2026-03-30 00:00 UTC"},
		{"zone Europe/Berlin; daily 02:00-02:30 off; else 1/s", "2026-10-25 00:10 UTC", 0, "2026-10-25 00:30 UTC"},
		{"zone Europe/Berlin; daily 02:00-02:30 off; else 1/s", "2026-10-25 00:30 UTC", 1, "2026-10-25 01:00 UTC"},
		{"zone Asia/Kathmandu; daily 08:00-09:00 off; else 1/s", "2026-11-23 02:00 UTC", 1, "2026-11-23 02:15 UTC"},
	} {
		p, err := ParsePlan(c.plan, nil)
		if err != nil {
			t.Errorf("%q: %v", c.plan, err)
			continue
		}
		at, err := time.Parse("2006-01-02 15:04 MST", c.at)
		if err != nil {
			t.Fatal(err)
		}
		rate, until := p.At(at.Add(1500 * time.Millisecond))
		text := ""
		if !until.IsZero() {
			text = until.UTC().Format("2006-01-02 15:04 MST")
		}
		if rate != c.rate || text != c.until || until.Nanosecond() != 0 {
			t.Errorf("%q at %s: %v until %q, want %v until %q", c.plan, c.at, rate, text, c.rate, c.until)
		}
	}
	var none *Plan
	if rate, until := none.At(time.Now()); !math.IsInf(rate, 1) || !until.IsZero() || none.String() != "" {
		t.Errorf("no plan allows %v until %v, want everything for ever", rate, until)
	}
}

func TestWhatIsWrongWithAPlan(t *testing.T) {
	for _, c := range []struct{ plan, want string }{
		{"mon-fri 08:00-18:00", `entry 1, "mon-fri 08:00-18:00": "08:00-18:00" is not a rate`},
		{"2/s; fun 1/s", `entry 2, "fun 1/s": "fun" are no days`},
		{"mon- 1/s", "are no days"},
		{"mon 08:00-25:00 1/s", `"08:00-25:00" is not a time`},
		{"mon 08:00 1/s", "is not a time"},
		{"mon 8:0-9:00 1/s", "is not a time"},
		{"mon 24:00-06:00 1/s", "is not a time"},
		{"mon 08:00-08:00 1/s", "is empty; leave it out"},
		{"mon 08:00-09:00 x 1/s", `"x" is too much`},
		{"else 1/s; mon 2/s", `entry 2, "mon 2/s": it comes after else`},
		{"else mon 1/s", "are no days"},
		{"1/day", "is not a rate"},
		{"-1/s", "is not a rate"},
		{"NaN/s", "is not a rate"},
		{"1/h", "out of range"},
		{"1000000/s", "out of range"},
		{"1/s;", "entry 2, \"\": it is empty"},
		{"zone Europe/Atlantis; 1/s", `no time zone "Europe/Atlantis"`},
		{"zone Local; 1/s", "no time zone"},
		{"1/s; zone UTC", "expected the zone as the first entry"},
		{"zone; 1/s", "expected the zone as the first entry"},
		{"zone UTC", "no entry"},
	} {
		if p, err := ParsePlan(c.plan, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, %v; want an error with %q", c.plan, p, err, c.want)
		}
	}
}

func TestThePlanTakesTheZoneThatItIsGiven(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	p, err := ParsePlan("08:00-18:00 2/s; else off", berlin)
	if want := "zone Europe/Berlin; 08:00-18:00 2/s; else off"; err != nil || p.String() != want {
		t.Errorf("%q, %v; want %q", p, err, want)
	}
}

func FuzzPlan(f *testing.F) {
	for _, text := range []string{"zone Europe/Berlin; mon-fri 08:00-18:00 2/s; else 10/s", "sat,sun off", "22:00-06:00 30/min; 1e1/h", "fri-mon 00:00-24:00 0/s"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePlan(text, nil)
		if err != nil {
			return
		}
		again, err := ParsePlan(p.String(), nil)
		if err != nil || again.String() != p.String() {
			t.Fatalf("%q is %q, and that is %q, %v", text, p, again, err)
		}
		now := time.Date(2026, 10, 25, 0, 10, 0, 0, time.UTC)
		rate, until := p.At(now)
		if same, end := again.At(now); same != rate || !end.Equal(until) || !until.IsZero() && !until.After(now) {
			t.Fatalf("%q allows %v until %v, and as %q %v until %v", text, rate, until, p, same, end)
		}
	})
}
