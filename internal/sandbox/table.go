package sandbox

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"
)

// table is the index of one entity type. Ids count from 1 and are not used again. As in the vendor's example, where three
// records with an element each are 11393, 11395 and 11397, the elements of plurals take theirs from the same sequence.
type table struct {
	pages      [][]entry
	length     int64                 // the last id that was given out
	live       int64                 // entities that are not deleted
	byEmail    map[emailHash]int64   // the first entity with an email, case folded
	others     map[emailHash][]int64 // further ones, where the email rule allows them
	attributes map[string]struct{}   // paths that were mentioned so far
}

// entry is the position of an entity in the log.
type entry struct {
	offset  int64
	written int64 // when the entity was created, in Unix microseconds
	size    int   // 0 when the entity is deleted, or the id is an element's
}

// pageSize is the number of entries that are allocated together, so that a table never has to be copied to grow.
const pageSize = 1 << 14

// emailHash is a hash of a folded email, with 128 bits, so that collisions can be ignored.
type emailHash [16]byte

func hashEmail(folded string) emailHash {
	sum := sha256.Sum256([]byte(folded))
	return emailHash(sum[:16])
}

func newTable() *table {
	t := &table{byEmail: map[emailHash]int64{}, others: map[emailHash][]int64{}, attributes: map[string]struct{}{}}
	t.learn(slices.Collect(maps.Keys(schemaAt)))
	return t
}

// entry returns the index entry of an entity, nil if there is no such entity.
func (t *table) entry(id int64) *entry {
	if id < 1 || id > t.length {
		return nil
	}
	at := &t.pages[(id-1)/pageSize][(id-1)%pageSize]
	if at.size == 0 {
		return nil
	}
	return at
}

func (t *table) add(at entry, email string) {
	t.append(at)
	t.live++
	t.addEmail(email, t.length)
}

// skip takes ids out of the sequence that no entity has: those of the elements of plurals.
func (t *table) skip(ids, written int64) {
	for range ids {
		t.append(entry{written: written})
	}
}

func (t *table) append(at entry) {
	if t.length%pageSize == 0 {
		t.pages = append(t.pages, make([]entry, 0, pageSize))
	}
	last := &t.pages[len(t.pages)-1]
	*last = append(*last, at)
	t.length++
}

func (t *table) addEmail(email string, id int64) {
	if email == "" {
		return
	}
	hash := hashEmail(foldEmail(email))
	if _, taken := t.byEmail[hash]; taken {
		t.others[hash] = append(t.others[hash], id)
		return
	}
	t.byEmail[hash] = id
}

func (t *table) removeEmail(email string, id int64) {
	if email == "" {
		return
	}
	hash := hashEmail(foldEmail(email))
	rest := slices.DeleteFunc(t.withEmail(email), func(other int64) bool { return other == id })
	delete(t.byEmail, hash)
	delete(t.others, hash)
	for _, other := range rest {
		t.addEmail(email, other)
	}
}

// move records a change of an entity and its new position in the log.
func (t *table) move(w Written, offset int64) {
	at := t.entry(w.ID)
	at.offset, at.size = offset, w.Size
	if w.EmailBefore != w.Email && w.EmailBefore != "" {
		t.removeEmail(w.EmailBefore, w.ID)
	}
	if !slices.Contains(t.withEmail(w.Email), w.ID) {
		t.addEmail(w.Email, w.ID)
	}
}

func (t *table) remove(id int64, email string) {
	t.entry(id).size = 0
	t.live--
	t.removeEmail(email, id)
}

// withEmail returns the entities that have an email, in whatever case.
func (t *table) withEmail(email string) []int64 {
	hash := hashEmail(foldEmail(email))
	first, ok := t.byEmail[hash]
	if !ok {
		return nil
	}
	return append([]int64{first}, t.others[hash]...)
}

// learn notes attributes, and gives those that were new.
func (t *table) learn(paths []string) []string {
	fresh := []string{}
	for _, path := range paths {
		if _, known := t.attributes[path]; !known {
			t.attributes[path] = struct{}{}
			fresh = append(fresh, path)
		}
	}
	return fresh
}

// visible returns the last id that was created no later than the moment.
func (t *table) visible(moment time.Time) int64 {
	limit := moment.UnixMicro()
	return int64(sort.Search(int(t.length), func(i int) bool { // entities are created in the order of their ids
		return t.pages[i/pageSize][i%pageSize].written > limit
	}))
}

// newUUID makes a random uuid that has the entity's id within it, so that no index over uuids is needed: its last
// six bytes are the id, masked with a hash of the first ten.
func newUUID(id int64) string {
	var u [16]byte
	rand.Read(u[:10])
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	var number [8]byte
	binary.BigEndian.PutUint64(number[:], uint64(id))
	mask := sha256.Sum256(u[:10])
	for i := range 6 {
		u[10+i] = number[2+i] ^ mask[i]
	}
	h := hex.EncodeToString(u[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// idWithin returns the id within a uuid, if that is one at all. Whether the entity with this id has this uuid is
// another question.
func idWithin(uuid string) (id int64, ok bool) {
	if len(uuid) != 36 || uuid[8] != '-' || uuid[13] != '-' || uuid[18] != '-' || uuid[23] != '-' {
		return 0, false
	}
	u, err := hex.DecodeString(strings.ReplaceAll(uuid, "-", ""))
	if err != nil || len(u) != 16 {
		return 0, false
	}
	var number [8]byte
	mask := sha256.Sum256(u[:10])
	for i := range 6 {
		number[2+i] = u[10+i] ^ mask[i]
	}
	return int64(binary.BigEndian.Uint64(number[:])), true
}
