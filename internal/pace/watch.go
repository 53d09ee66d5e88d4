package pace

import "time"

// keeping is how those who hold something in a bucket show that they live: with
// a number that they change every so often. Who was not seen to change it for
// long has lost what it held.
type keeping struct{ kept, abandoned time.Duration }

// sure is how long after it has shown itself a holder may rely on what it holds:
// the others see that later than it does.
func (k keeping) sure() time.Duration { return k.abandoned * 2 / 3 }

// watch is what one process sees of those who show themselves. It measures with
// its own clock, and only while it looks: from times at which it did not look, or
// could not, nobody has a disadvantage.
type watch struct {
	keeping
	last time.Time
	seen map[string]sighting
}

type sighting struct {
	shown uint64
	since time.Time
}

// look says which of those who are there have not shown themselves for long.
func (w *watch) look(shown map[string]uint64, now time.Time) (abandoned []string) {
	blind := now.Sub(w.last) > 2*w.kept
	seen := make(map[string]sighting, len(shown))
	for id, n := range shown {
		s, ok := w.seen[id]
		if !ok || blind || s.shown != n {
			s = sighting{n, now}
		}
		if now.Sub(s.since) > w.keeping.abandoned {
			abandoned = append(abandoned, id)
		}
		seen[id] = s
	}
	w.last, w.seen = now, seen
	return abandoned
}
