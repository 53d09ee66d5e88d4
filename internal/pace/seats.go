package pace

import (
	"context"
	"sync"
	"time"
)

// MostPlaces is how many calls may be in flight at most, whatever is set.
const MostPlaces = 1000

// Seats lets so many callers of this process in at once, and the number may
// change at any time.
type Seats struct {
	taken chan struct{} // holds one for each caller, and one for each seat that there is not
	mu    sync.Mutex
	spare int // seats that there are not: of these, withheld are in taken
	held  int
}

// NewSeats makes seats; how many there are Take is told.
func NewSeats() *Seats { return &Seats{taken: make(chan struct{}, MostPlaces)} }

// Take waits for one of as many seats as there are at each moment.
func (s *Seats) Take(ctx context.Context, seats func() int) error {
	for {
		s.set(seats())
		select {
		case s.taken <- struct{}{}:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(poll):
		}
	}
}

// Leave gives the seat free, unless there are more than there should be.
func (s *Seats) Leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held < s.spare {
		s.held++
		return
	}
	<-s.taken
}

func (s *Seats) set(seats int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spare = MostPlaces - min(max(seats, 1), MostPlaces)
	for ; s.held > s.spare; s.held-- {
		<-s.taken
	}
	for s.held < s.spare {
		select {
		case s.taken <- struct{}{}:
			s.held++
		default: // the rest when they are left
			return
		}
	}
}

// inUse is how many seats are taken.
func (s *Seats) inUse() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.taken) - s.held
}
