package sandbox

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// entities is the database: an index in memory over the log, which holds the entities themselves. For an entity it
// needs some 60 bytes of memory, whatever the entity's size.
type entities struct {
	log    *commitLog
	emails EmailRule
	clock  time.Duration // how far the clock that stamps entities is ahead

	mu      sync.RWMutex
	tables  map[string]*table // by entity type
	arrived map[string]int64  // calls that have arrived, by endpoint
	seq     int64             // of the last line of the log
	last    time.Time         // when that line was committed
}

func openEntities(stateDir string, emails EmailRule, clock time.Duration) (*entities, error) {
	e := &entities{emails: emails, clock: clock, tables: map[string]*table{}, arrived: map[string]int64{}}
	log, err := openLog(stateDir, e.replay)
	if err != nil {
		return nil, err
	}
	e.log = log
	return e, nil
}

// replay applies a line of the log to the index. place is the offset of the line's first entity in the log.
func (e *entities) replay(place int64, c *Call) error {
	e.seq, e.last = c.Seq, c.Committed
	e.arrived[c.Endpoint] = max(e.arrived[c.Endpoint], c.Number)
	if len(c.Written)+len(c.Deleted)+len(c.Attributes) == 0 {
		return nil
	}
	t := e.table(c.TypeName)
	t.learn(c.Attributes)
	for _, w := range c.Written {
		at := place
		place += int64(w.Size) + 1 // they are separated by commas
		if c.Endpoint == bulkCreateEndpoint || c.Endpoint == registration {
			if w.ID != t.length+1 {
				return fmt.Errorf("it creates entity %d after entity %d", w.ID, t.length)
			}
			t.add(entry{at, c.Committed.UnixMicro(), w.Size}, w.Email)
			t.skip(w.Elements, c.Committed.UnixMicro())
			continue
		}
		if t.entry(w.ID) == nil {
			return fmt.Errorf("it changes entity %d, which does not exist", w.ID)
		}
		t.move(w, at)
		t.skip(w.Elements, c.Committed.UnixMicro())
	}
	for _, d := range c.Deleted {
		if t.entry(d.ID) == nil {
			return fmt.Errorf("it deletes entity %d, which does not exist", d.ID)
		}
		t.remove(d.ID, d.Email)
	}
	return nil
}

// table returns the table of an entity type. The caller holds the lock, or is alone.
func (e *entities) table(typeName string) *table {
	t := e.tables[typeName]
	if t == nil {
		t = newTable()
		e.tables[typeName] = t
	}
	return t
}

// arrive counts a call to an endpoint, and gives its number and that of all calls so far to endpoints that write.
func (e *entities) arrive(endpoint string) (number, writes int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.arrived[endpoint]++
	for _, name := range []string{bulkCreateEndpoint, updateEndpoint, replaceEndpoint, deleteEndpoint} {
		writes += e.arrived[name]
	}
	return e.arrived[endpoint], writes
}

// enqueue appends the line of a call and the entities that it wrote to the log, and returns the offset after them; the
// call is durable when log.sync of that offset has returned nil. apply puts the change into the index, with the offsets
// of the entities in the log. The caller holds the lock.
func (e *entities) enqueue(c *Call, bodies [][]byte, apply func(places []int64)) (end int64, err error) {
	if c.Committed.IsZero() {
		c.Committed = e.now()
	}
	c.Seq = e.seq + 1
	line, places, err := encodeLine(c, bodies)
	if err != nil {
		return 0, err
	}
	start, end, err := e.log.append(line)
	if err != nil {
		return 0, err
	}
	e.seq, e.last = c.Seq, c.Committed
	for i := range places {
		places[i] += start
	}
	if apply != nil {
		apply(places)
	}
	return end, nil
}

// now is the time of the next commit: the clock's in microseconds, rounded up so that no commit is before its call,
// unless the clock has been set back.
func (e *entities) now() time.Time {
	now := time.Now().UTC().Add(time.Microsecond - 1).Truncate(time.Microsecond)
	if now.Before(e.last) {
		return e.last
	}
	return now
}

// note logs a call that writes nothing. attributes are those that it mentioned.
func (e *entities) note(c *Call, attributes []string) error {
	end, err := func() (int64, error) {
		e.mu.Lock()
		defer e.mu.Unlock()
		if len(attributes) > 0 {
			c.Attributes = e.table(c.TypeName).learn(attributes)
		}
		return e.enqueue(c, nil, nil)
	}()
	if err != nil {
		return err
	}
	return e.log.sync(end)
}

// candidate is a record that is to become an entity.
type candidate struct {
	attributes map[string]any
	created    time.Time // zero if it was not given
	encoded    []byte    // attributes as JSON; nil if plurals in it have elements
	err        *apiError // why the record cannot become one
}

// outcome is what became of a candidate: an id and uuid, or an error.
type outcome struct {
	id   int64
	uuid string
	err  *apiError
}

// create makes entities of candidates, each for itself, and logs the call. It leaves out those that skip says.
func (e *entities) create(c *Call, candidates []candidate, attributes []string, skip func(index int) bool) ([]outcome, error) {
	outcomes, end, err := e.enqueueCreate(c, candidates, attributes, skip)
	if err != nil {
		return nil, err
	}
	return outcomes, e.log.sync(end)
}

func (e *entities) enqueueCreate(c *Call, candidates []candidate, attributes []string, skip func(index int) bool) ([]outcome, int64, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.table(c.TypeName)
	c.Attributes = t.learn(attributes)
	c.Committed = e.now()
	outcomes := make([]outcome, len(candidates))
	inCall := map[string]bool{} // emails that this call creates, as the rule compares them
	var bodies [][]byte
	last := t.length // the last id that was given out
	for i, candidate := range candidates {
		if skip(i) {
			continue
		}
		email := emailOf(candidate.attributes)
		if candidate.err == nil && email != "" {
			if taken, err := e.isTaken(t, email, 0); err != nil {
				candidate.err = unexpected(err)
			} else if taken || inCall[e.emails.key(email)] && e.emails != SharedEmails {
				candidate.err = uniqueViolation()
			}
		}
		if candidate.err != nil {
			outcomes[i].err = candidate.err
			c.Refused = append(c.Refused, Refused{i, candidate.err.code})
			continue
		}
		if email != "" {
			inCall[e.emails.key(email)] = true
		}
		created := candidate.created
		if created.IsZero() {
			created = c.Committed.Add(e.clock)
		}
		last++
		id, uuid := last, newUUID(last)
		if candidate.encoded == nil {
			numberElements(candidate.attributes, &last)
			var err error
			if candidate.encoded, err = encodeJSON(candidate.attributes); err != nil {
				return nil, 0, err
			}
		}
		body := withSystemAttributes(candidate.encoded, id, uuid, formatTime(created), formatTime(c.Committed.Add(e.clock)))
		bodies = append(bodies, body)
		outcomes[i] = outcome{id: id, uuid: uuid}
		c.Written = append(c.Written, Written{Index: i, ID: id, UUID: uuid, Email: email, Elements: last - id, Size: len(body)})
	}
	end, err := e.enqueue(c, bodies, func(places []int64) {
		for i, w := range c.Written {
			t.add(entry{places[i], c.Committed.UnixMicro(), w.Size}, w.Email)
			t.skip(w.Elements, c.Committed.UnixMicro())
		}
	})
	return outcomes, end, err
}

// isTaken says that another entity than self has the email, as the rule compares them. The caller holds the lock.
func (e *entities) isTaken(t *table, email string, self int64) (bool, error) {
	ids := slices.DeleteFunc(t.withEmail(email), func(id int64) bool { return id == self })
	if email == "" || len(ids) == 0 || e.emails != ExactEmails {
		return len(ids) > 0 && email != "" && e.emails != SharedEmails, nil
	}
	found, err := e.exact(t, ids, email)
	return found > 0, err
}

// exact returns the entity among ids that has the email in the same case, 0 for none. The caller holds the lock.
func (e *entities) exact(t *table, ids []int64, email string) (int64, error) {
	for _, id := range ids {
		at := t.entry(id)
		body, err := e.log.read(at.offset, at.size, at.size)
		if err != nil {
			return 0, err
		}
		other, err := decodeEntity(id, *at, body)
		if err != nil {
			return 0, err
		}
		if other.email() == email {
			return id, nil
		}
	}
	return 0, nil
}

func uniqueViolation() *apiError {
	return newError(361, "Attempted to update a duplicate value")
}

// withSystemAttributes puts the system attributes before the others.
func withSystemAttributes(encoded []byte, id int64, uuid, created, lastUpdated string) []byte {
	body := fmt.Appendf(nil, `{"id":%d,"uuid":"%s","created":"%s","lastUpdated":"%s"`, id, uuid, created, lastUpdated)
	if len(encoded) > len("{}") {
		body = append(body, ',')
	}
	return append(body, encoded[1:]...)
}

// entity is one that was read from the log.
type entity struct {
	id         int64
	uuid       string
	written    time.Time      // when it was created
	attributes map[string]any // all of them, the system attributes too
}

func (e *entity) email() string { return emailOf(e.attributes) }

func decodeEntity(id int64, at entry, body []byte) (*entity, error) {
	value, err := decodeJSON(string(body))
	if err != nil {
		return nil, fmt.Errorf("entity %d in the truth log is damaged: %w", id, err)
	}
	attributes, _ := value.(map[string]any)
	uuid, _ := attributes["uuid"].(string)
	return &entity{id: id, uuid: uuid, written: time.UnixMicro(at.written), attributes: attributes}, nil
}

// resolve reads the entity that an address names. The caller holds the lock.
func (e *entities) resolve(t *table, a address) (*entity, *apiError) {
	id := a.id
	switch {
	case a.email != "" && e.emails == SharedEmails:
		return nil, invalidArgument("key_attribute", "email is not a unique attribute: those are id and uuid")
	case a.email != "" && e.emails == ExactEmails:
		var err error
		if id, err = e.exact(t, t.withEmail(a.email), a.email); err != nil {
			return nil, unexpected(err)
		}
	case a.email != "":
		if ids := t.withEmail(a.email); len(ids) > 0 {
			id = ids[0]
		}
	case a.uuid != "":
		id, _ = idWithin(a.uuid)
	}
	notFound := newError(310, "record not found")
	at := t.entry(id)
	if at == nil {
		return nil, notFound
	}
	body, err := e.log.read(at.offset, at.size, at.size)
	if err != nil {
		return nil, unexpected(err)
	}
	found, err := decodeEntity(id, *at, body)
	if err != nil {
		return nil, unexpected(err)
	}
	if a.uuid != "" && a.uuid != found.uuid {
		return nil, notFound
	}
	for name, supplied := range map[string]string{"created": a.created, "lastUpdated": a.lastUpdated} {
		if err := checkTimestamp(found, name, supplied); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// view reads the entity that an address names.
func (e *entities) view(typeName string, a address) (*entity, *apiError) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	t := e.tables[typeName]
	if t == nil {
		t = &table{}
	}
	return e.resolve(t, a)
}

// change edits an entity and logs the call. edit gets the attributes without those of the system, and works on them in
// place.
func (e *entities) change(c *Call, a address, edit func(attributes map[string]any) *apiError) (*entity, *apiError) {
	changed, end, apiErr := e.enqueueChange(c, a, edit)
	if apiErr != nil {
		return nil, apiErr
	}
	if err := e.log.sync(end); err != nil {
		return nil, unexpected(err)
	}
	return changed, nil
}

func (e *entities) enqueueChange(c *Call, a address, edit func(map[string]any) *apiError) (changed *entity, end int64, _ *apiError) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.table(c.TypeName)
	old, apiErr := e.resolve(t, a)
	if apiErr != nil {
		return nil, 0, apiErr
	}
	created, _ := old.attributes["created"].(string)
	oldEmail, attributes := old.email(), old.attributes
	for _, name := range systemAttributes {
		delete(attributes, name)
	}
	c.Committed = e.now()
	now := formatTime(c.Committed.Add(e.clock))
	setPassword := passwordClock(attributes, now)
	if err := edit(attributes); err != nil {
		return nil, 0, err
	}
	if err := checkSchema(attributes); err != nil {
		return nil, 0, err
	}
	setPassword()
	newEmail := emailOf(attributes)
	if taken, err := e.isTaken(t, newEmail, old.id); err != nil {
		return nil, 0, unexpected(err)
	} else if taken {
		return nil, 0, uniqueViolation()
	}
	last := t.length
	numberElements(attributes, &last)
	encoded, err := encodeJSON(attributes)
	if err != nil {
		return nil, 0, unexpected(err)
	}
	body := withSystemAttributes(encoded, old.id, old.uuid, created, now)
	written := Written{ID: old.id, UUID: old.uuid, Email: newEmail, Elements: last - t.length, Size: len(body)}
	if oldEmail != newEmail {
		written.EmailBefore = oldEmail
	}
	c.Written = append(c.Written, written)
	c.Attributes = t.learn(attributePaths(attributes))
	at := *t.entry(old.id)
	end, err = e.enqueue(c, [][]byte{body}, func(places []int64) {
		t.move(written, places[0])
		t.skip(written.Elements, c.Committed.UnixMicro())
	})
	if err == nil {
		changed, err = decodeEntity(old.id, at, body)
	}
	if err != nil {
		return nil, 0, unexpected(err)
	}
	return changed, end, nil
}

// remove deletes an entity and logs the call.
func (e *entities) remove(c *Call, a address) *apiError {
	end, apiErr := e.enqueueRemove(c, a)
	if apiErr != nil {
		return apiErr
	}
	if err := e.log.sync(end); err != nil {
		return unexpected(err)
	}
	return nil
}

func (e *entities) enqueueRemove(c *Call, a address) (end int64, _ *apiError) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.table(c.TypeName)
	old, apiErr := e.resolve(t, a)
	if apiErr != nil {
		return 0, apiErr
	}
	c.Deleted = append(c.Deleted, Deleted{old.id, old.uuid, old.email()})
	end, err := e.enqueue(c, nil, func([]int64) { t.remove(old.id, old.email()) })
	if err != nil {
		return 0, unexpected(err)
	}
	return end, nil
}
