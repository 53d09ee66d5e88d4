package check

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// account is a record of the target, according to its log.
type account struct {
	uuid       string
	key        string
	values     map[string]any // when it was made
	seq        int64          // of the call that made it
	index      int
	fault      string // of that call
	isOurs     bool   // a call of the migration made it
	isStranger bool   // a user registered after the migration had started
	byGateway  bool   // a gateway made it a second time, and the target could not refuse that
	changed    bool   // by its user
	isTaken    bool   // a success has it, and it cannot be recognized as a namesake's
}

// accounts reads the log of the target.
func (c *checker) accounts() error {
	c.target = map[string]*account{}
	for _, call := range c.truth {
		makes := call.Endpoint == "entity.bulkCreate" || call.Endpoint == registered
		for i, w := range call.Written {
			if a := c.target[w.UUID]; a != nil {
				a.changed = a.changed || call.Endpoint == userChanged
			}
			if !makes {
				continue
			}
			a := &account{
				uuid: w.UUID, key: c.keyOf(w.Email), seq: call.Seq, index: w.Index, fault: call.Fault,
				isOurs: c.isOurs(call), isStranger: call.Endpoint == registered,
			}
			a.byGateway = call.isRepeated() && (a.key == "" || c.m.Emails == "shared")
			if i < len(call.Entities) {
				if err := json.Unmarshal(call.Entities[i], &a.values); err != nil {
					return fmt.Errorf("call %d: %w", call.Seq, err)
				}
			}
			c.target[w.UUID] = a
		}
	}
	return nil
}

const (
	registered  = "user.register"
	userChanged = "user.change"
)

// uuids are those of all accounts, in the order in which they were made.
func (c *checker) uuids() []string {
	return slices.SortedFunc(maps.Keys(c.target), func(a, b string) int {
		x, y := c.target[a], c.target[b]
		if x.seq != y.seq {
			return int(x.seq - y.seq)
		}
		return x.index - y.index
	})
}

func (c *checker) keyOf(email string) string {
	if c.m.Emails == "exact" {
		return email
	}
	return strings.ToLower(email)
}

// plainNames are the attributes without a transformation: they distinguish records
// that have the same email, or none.
var plainNames = []string{"givenName", "familyName", "displayName"}

func (c *checker) identity(key string, values map[string]any) string {
	parts := []string{key}
	for _, name := range plainNames {
		text, _ := values[name].(string)
		parts = append(parts, text)
	}
	return strings.Join(parts, "\x00")
}

func (c *checker) identityOf(r *record) string { return c.identity(r.key, c.valuesOf(r)) }

func (c *checker) valuesOf(r *record) map[string]any {
	values := map[string]any{}
	for i, name := range c.input.header {
		if i < len(r.fields) {
			values[name] = r.fields[i]
		}
	}
	return values
}

// accounted is what a record and an account must have in common so that an
// unknown record can be the account's.
func (c *checker) accounted(key, identity string) string {
	if key == "" {
		return identity
	}
	return key
}

// isNamesake reports whether a stranger registered with all data of the record and has
// not changed it since. Where the target has no marks, the two cannot be distinguished.
func (c *checker) isNamesake(a *account, r *record) bool {
	return a.isStranger && !a.changed && c.identity(a.key, a.values) == c.identityOf(r)
}

// twice holds that the migration made no more accounts than there are records,
// also where the target cannot refuse a second one.
func (c *checker) twice() {
	records, made := map[string]int{}, map[string]int{}
	for _, r := range c.records {
		records[c.identityOf(r)]++
	}
	for _, a := range c.target {
		if a.isOurs && !a.byGateway && (a.key == "" || c.m.Emails == "shared") {
			made[c.identity(a.key, a.values)]++
		}
	}
	for identity, n := range made {
		if n > records[identity] && !c.m.Later {
			c.tell(NoBlindRepeat, "the migration made %d accounts of %d records that the target cannot tell apart (line %s)", n, records[identity], c.lines(func(r *record) bool { return c.identityOf(r) == identity }))
		}
	}
}

// others holds that what is not ours stays as it is: nothing deletes it, and
// only a delta migration changes what was there.
func (c *checker) others() {
	for _, call := range c.truth {
		if call.Seq <= c.m.Before {
			continue
		}
		for _, d := range call.Deleted {
			if a := c.target[d.UUID]; a == nil || !a.isOurs && !a.isTaken {
				c.tell(Proven, "call %d deleted %s, which no call of the migration made", call.Seq, d.UUID)
			}
		}
		if c.isDelta() || call.Endpoint != "entity.update" && call.Endpoint != "entity.replace" {
			continue
		}
		for _, w := range call.Written {
			if a := c.target[w.UUID]; a == nil || !a.isOurs {
				c.tell(Proven, "call %d changed %s, which no call of the migration made", call.Seq, w.UUID)
			}
		}
	}
}
