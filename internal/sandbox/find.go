package sandbox

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	defaultMaxResults = 100
	maxMaxResults     = 10000
)

// find is entity.find: the entities that fit a filter, sorted, from first_result on, max_results of them.
func (s *Server) find(q *request) (map[string]any, *apiError) {
	search, err := s.newSearch(q)
	if err != nil {
		return nil, err
	}
	if err := s.run(search); err != nil {
		return nil, unexpected(err)
	}
	results, err := s.results(search, q)
	if err != nil {
		return nil, err
	}
	reply := map[string]any{"stat": "ok", "result_count": len(results), "results": results}
	if search.total {
		reply["total_count"] = search.count
	}
	return reply, nil
}

// count is entity.count: how many entities there are, or how many fit a filter.
func (s *Server) count(q *request) (map[string]any, *apiError) {
	if q.params.Get("filter") == "" {
		return map[string]any{"stat": "ok", "total_count": s.entities.count(q.call.TypeName)}, nil
	}
	fits, err := s.filterOf(q)
	if err != nil {
		return nil, err
	}
	search := &search{typeName: q.call.TypeName, fits: fits, total: true}
	if err := s.run(search); err != nil {
		return nil, unexpected(err)
	}
	return map[string]any{"stat": "ok", "total_count": search.count}, nil
}

// search is one search for entities.
type search struct {
	typeName string
	fits     filter // nil if all do
	order    []sortKey
	skip     int  // results before the first that is wanted
	most     int  // results that are wanted
	total    bool // whether all that fit are to be counted

	count int
	hits  []hit // those that are wanted, or with an order those that may be
}

type sortKey struct {
	path       []string
	descending bool
}

// hit is an entity that fits. What its entry leads to in the log never changes, unlike the entity.
type hit struct {
	id   int64
	at   entry
	keys []any // one a sortKey
}

func (s *Server) filterOf(q *request) (filter, *apiError) {
	text := q.params.Get("filter")
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	f, err := parseFilter(text, func(attribute string) bool {
		return s.entities.knows(q.call.TypeName, attribute) && !s.options.hides(attribute)
	})
	if err != nil {
		return nil, invalidArgument("filter", "%v", err)
	}
	return f, nil
}

func (s *Server) newSearch(q *request) (*search, *apiError) {
	fits, err := s.filterOf(q)
	if err != nil {
		return nil, err
	}
	most, err := q.integer("max_results", defaultMaxResults, 0, maxMaxResults)
	if err != nil {
		return nil, err
	}
	first, err := q.integer("first_result", 1, 1, 1<<53)
	if err != nil {
		return nil, err
	}
	paths, err := q.stringList("sort_on")
	if err != nil {
		return nil, err
	}
	found := &search{
		typeName: q.call.TypeName, fits: fits, skip: first - 1, most: most,
		total: q.params.Get("show_total_count") == "true",
	}
	for _, path := range paths {
		name, descending := strings.CutPrefix(path, "-")
		if s.options.hides(name) {
			return nil, invalidArgument("sort_on", "there is no attribute %s", name)
		}
		found.order = append(found.order, sortKey{strings.Split(name, "."), descending})
	}
	if len(paths) > 0 && paths[0] == "id" {
		found.order = nil // that is the order in which they are read, and no two have the same
	}
	return found, nil
}

// integer reads a parameter that is a whole number within bounds.
func (q *request) integer(name string, otherwise, least, greatest int) (int, *apiError) {
	text := q.params.Get(name)
	if text == "" {
		return otherwise, nil
	}
	value, err := strconv.Atoi(text)
	if err != nil || value < least || value > greatest {
		return 0, invalidArgument(name, "it is not a whole number from %d to %d", least, greatest)
	}
	return value, nil
}

// stringList reads a parameter that is a JSON array of strings; nil if it is missing.
func (q *request) stringList(name string) ([]string, *apiError) {
	text := q.params.Get(name)
	if text == "" {
		return nil, nil
	}
	list := []string{}
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, invalidArgument(name, "it is not a JSON array of strings")
	}
	return list, nil
}

// run does a search. It reads all entities, except where there is neither a filter nor an order, or where the filter
// says by email, uuid or id where to look.
func (s *Server) run(f *search) error {
	t, area, last := s.entities.area(f, s.options.FindLag)
	withBody := f.fits != nil || len(f.order) > 0
	return s.entities.scan(t, area, last, withBody, func(id int64, at entry, body []byte) (stop bool, err error) {
		h := hit{id: id, at: at}
		if withBody {
			entity, err := decodeEntity(id, at, body)
			if err != nil {
				return false, err
			}
			if f.fits != nil && f.fits.judge(entity.attributes) != yes {
				return false, nil
			}
			h.keys = f.keysOf(entity)
		}
		f.take(h)
		return !f.total && len(f.order) == 0 && f.count >= f.skip+f.most, nil
	})
}

func (f *search) keysOf(entity *entity) []any {
	var keys []any
	for _, key := range f.order {
		var first any
		if values := valuesAt(entity.attributes, key.path); len(values) > 0 {
			first = values[0]
		}
		keys = append(keys, first)
	}
	return keys
}

// take counts a hit, and keeps it as long as it may be wanted.
func (f *search) take(h hit) {
	f.count++
	if len(f.order) == 0 && (f.count <= f.skip || f.count > f.skip+f.most) {
		return
	}
	f.hits = append(f.hits, h)
	if len(f.order) > 0 && len(f.hits) >= 2*(f.skip+f.most)+1000 {
		f.sort()
	}
}

// sort puts the hits in order, and drops those beyond the limit.
func (f *search) sort() {
	slices.SortFunc(f.hits, func(a, b hit) int {
		for i, key := range f.order {
			c := compareValues(a.keys[i], b.keys[i])
			if key.descending {
				c = -c
			}
			if c != 0 {
				return c
			}
		}
		return cmp.Compare(a.id, b.id)
	})
	f.hits = f.hits[:min(len(f.hits), f.skip+f.most)]
}

// compareValues orders attributes: null first, then false, true, numbers, strings in the order of their bytes. Dates
// are strings that sort as dates do.
func compareValues(a, b any) int {
	rank := func(value any) int {
		switch value := value.(type) {
		case nil:
			return 0
		case bool:
			if !value {
				return 1
			}
			return 2
		case json.Number:
			return 3
		case string:
			return 4
		default:
			return 5
		}
	}
	if c := cmp.Compare(rank(a), rank(b)); c != 0 {
		return c
	}
	switch a := a.(type) {
	case json.Number:
		c, _ := compareNumbers(string(a), string(b.(json.Number)))
		return c
	case string:
		return strings.Compare(a, b.(string))
	default:
		return 0
	}
}

// results returns the results of a search that was run, each with all its attributes or those that were asked for.
func (s *Server) results(f *search, q *request) ([]any, *apiError) {
	paths, err := q.stringList("attributes")
	if err != nil {
		return nil, err
	}
	hits := f.hits
	if len(f.order) > 0 {
		f.sort()
		hits = f.hits[min(f.skip, len(f.hits)):]
	}
	results := []any{}
	for _, hit := range hits {
		body, err := s.entities.log.read(hit.at.offset, hit.at.size, hit.at.size)
		if err != nil {
			return nil, unexpected(err)
		}
		entity, err := decodeEntity(hit.id, hit.at, body)
		if err != nil {
			return nil, unexpected(err)
		}
		results = append(results, s.shown(entity, paths))
	}
	return results, nil
}

// count returns the number of all entities of a type.
func (e *entities) count(typeName string) int64 {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if t := e.tables[typeName]; t != nil {
		return t.live
	}
	return 0
}

// knows reports whether an entity type has an attribute.
func (e *entities) knows(typeName, attribute string) bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	t := e.tables[typeName]
	if t == nil {
		_, known := schemaAt[attribute]
		return known
	}
	_, known := t.attributes[attribute]
	return known
}

// area returns the range of a search: a region of a table, and the last id that is visible with the lag.
func (e *entities) area(f *search, lag time.Duration) (*table, region, int64) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	t := e.tables[f.typeName]
	if t == nil {
		t = newTable()
	}
	area, last := everywhere, t.length
	if f.fits != nil {
		area = f.fits.where(t)
	}
	if lag > 0 {
		last = t.visible(time.Now().Add(-lag))
	}
	return t, area, last
}
