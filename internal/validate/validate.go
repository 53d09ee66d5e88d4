// Package validate reports everything about a file that can be known before anything is sent: records that the target
// would refuse, the size of the file, and the expected duration of its migration.
//
// It reads the file once, on all cores and in constant memory. Its findings name lines and columns and never contain a value of a record.
package validate

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"durable-dataload/internal/dupkeys"
	"durable-dataload/internal/mapping"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/source"
	"durable-dataload/internal/suggest"
	"durable-dataload/internal/target"
)

// Records is a compiled mapping: a *mapping.Records.
type Records interface {
	mapping.Appender
	mapping.Maker
	// Keyless reports whether the record is sent without a usable value of the attribute.
	Keyless(attribute string, fields []string) bool
	// Reads reports whether a column, from 0, is used.
	Reads(column int) bool
	// Replaced passes the attributes whose values are replaced because the mapping does not know them, and the values that it
	// expects.
	Replaced(fields []string, tell func(attribute, expected string))
}

// Options describes the migration of a file.
type Options struct {
	// Encoder compiles the mapping for a header. Its error becomes a finding about the header.
	Encoder func(header []string) (Records, error)

	// Schema is the schema of the entity type, nil if it is not known. Then only the system attributes are checked.
	Schema *target.Schema

	Delimiter  source.Delimiter
	Name       string // of the file in the report; the name in path if empty
	BatchSize  int
	StartAt    int64  // number of the first record; 0 means 1
	Canary     int    // records that are loaded first; 0 means none
	PrimaryKey string // path of an attribute
	Format     target.Format
	Pace       Pace
	CallTime   time.Duration // of a harmless call, 0 if it was not measured

	// TempDir is the folder for a temporary file: 32 bytes for each record and unique attribute. The file is removed when the
	// process ends, however it ends.
	TempDir string

	// Lines is the number of lines that are kept for each finding.
	Lines int

	// Draft, if given, gets the index and the copy of the file, unless it is refused.
	Draft *source.Draft

	// Progress, if given, is called several times a mebibyte with what was read.
	Progress func(bytes, records int64)
}

// File validates a file in one pass. Its error concerns reading the file or TempDir; the faults of the file are in the
// report.
func File(ctx context.Context, path string, o Options) (*Report, error) {
	if o.Name == "" {
		o.Name = filepath.Base(path)
	}
	o.StartAt = max(1, o.StartAt)
	v := &validation{
		o: o, traits: o.Format.Traits(), findings: newFindings(o.Lines),
		report: &Report{File: o.Name, Limit: o.Format.Traits().MaxBytes + o.Format.Traits().Overhead, NotChecked: []string{}},
	}
	defer v.close()
	r, err := source.OpenReader(ctx, path, source.ReaderOptions{
		Delimiter: o.Delimiter, Name: o.Name, Progress: o.Progress, Draft: o.Draft,
		Refused: func(r *source.Refusal) { v.add(func(f *findings) { refused(f, r) }) },
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	if v.header = r.Header(); v.header != nil {
		if err := v.prepare(); err != nil {
			return nil, err
		}
	}
	if err := source.ForEachBlock(ctx, r, v.newWorker, v.consume); err != nil {
		return nil, err
	}
	if v.encoder != nil {
		r.Index(v.batcher)
	}
	return v.end(ctx, r)
}

// validation is one run of File.
type validation struct {
	o        Options
	traits   target.Traits
	header   *source.Header
	encoder  Records // nil: the records are not checked
	keyed    int     // the column of the primary key, -1 if there is none
	named    func(path string) bool
	hasKey   bool // the schema has the primary key
	unique   []uniqueAttribute
	nextYear int
	findings *findings
	report   *Report
	batcher  *source.Batcher
	batch    batch
	calls    int64
}

// uniqueAttribute is an attribute whose values must be unique.
type uniqueAttribute struct {
	path string
	keys *dupkeys.Finder
}

// batch is the batch that is being filled.
type batch struct {
	sent int
	size Size
}

// checked is what a worker found in a block.
type checked struct {
	findings *findings
	measures []source.Measure
	sent     []bool
	keys     [][]dupkeys.Hashed // of each unique attribute
	largest  Size               // record
}

// worker checks blocks of records. It is for one goroutine.
type worker struct {
	*validation
	*checked
	checker *checker
	json    []byte
	fields  []string

	line     int64 // of the record
	replaced func(attribute, expected string)
}

func (v *validation) newWorker() func(*source.Block, *checked) *checked {
	w := &worker{validation: v}
	if v.encoder != nil {
		root := v.shape()
		w.checker = &checker{
			root: root, named: v.named, key: root.at(v.o.PrimaryKey), nextYear: v.nextYear,
			doubts: v.traits.Doubts, hasher: dupkeys.Hasher{Fold: v.traits.Fold},
		}
	}
	w.replaced = func(attribute, expected string) {
		w.checked.findings.found(findingKey{KindReplaced, attribute, 0}, Place{Line: w.line}, func() (Severity, string) {
			return Warning, "the mapping does not know the value, which is lost: " + expected + "; add the words of this file to a mapping (docs/mapping.md)"
		})
	}
	return w.check
}

// shape prepares the schema for a worker.
func (v *validation) shape() *node {
	root := newShape(v.o.Schema, v.traits)
	root.at(v.o.PrimaryKey)
	for i, u := range v.unique {
		root.at(u.path).unique = i + 1
	}
	return root
}

// check checks the records of a block.
func (w *worker) check(b *source.Block, reuse *checked) *checked {
	if reuse == nil {
		reuse = &checked{findings: newFindings(w.o.Lines), keys: make([][]dupkeys.Hashed, len(w.unique))}
	}
	w.checked = reuse
	w.checked.findings.reset()
	w.measures, w.sent = slices.Grow(w.measures[:0], b.Len())[:b.Len()], slices.Grow(w.sent[:0], b.Len())[:b.Len()]
	clear(w.measures)
	clear(w.sent)
	for i := range w.keys {
		w.keys[i] = w.keys[i][:0]
	}
	w.largest = Size{}
	if w.checker != nil {
		w.checker.findings, w.checker.keys = w.checked.findings, w.keys
	}
	for i, r := range b.Records(func(r *source.Refusal) { refused(w.checked.findings, r) }) {
		if w.encoder != nil && r.Number >= w.o.StartAt {
			w.measures[i], w.sent[i] = w.record(r)
		}
	}
	return w.checked
}

// consume adds what was found in the next block of the file.
func (v *validation) consume(b *source.Block, c *checked) error {
	v.findings.merge(c.findings)
	if v.encoder == nil {
		return nil
	}
	if c.largest.Bytes > v.report.LargestRecord.Bytes {
		v.report.LargestRecord = c.largest
	}
	at := 0
	place := func(to int) {
		for ; at < to; at++ {
			v.batch.size.Bytes += c.measures[at].Size
			if c.sent[at] {
				v.batch.sent++
			}
		}
	}
	err := v.batcher.Add(b, c.measures, func(position int, r source.Record) {
		place(position)
		v.closeBatch()
		v.batch.size.Line = r.Line
	})
	if err != nil {
		return err
	}
	place(b.Len())
	for i, keys := range c.keys {
		for _, k := range keys {
			if err := v.unique[i].keys.Add(k); err != nil {
				return err
			}
		}
	}
	return nil
}

// refused adds a refusal to findings.
func refused(f *findings, r *source.Refusal) {
	about := r.Reason
	key := findingKey{kind: KindFile, about: about}
	switch r.Kind {
	case source.NotUTF8:
		key.kind, about = KindEncoding, `bytes that are not UTF-8; expected UTF-8 in the whole file; save it as "CSV UTF-8", or name the encoding with --encoding`
	case source.OpenQuote:
		key.kind, about = KindQuote, "a quote that is not closed; close it, and double each quote that belongs to a value; the lines after it were read as records nevertheless"
	}
	key.about = about
	f.found(key, Place{Line: r.Line}, func() (Severity, string) { return Error, about })
}

// add adds findings about the file as a whole.
func (v *validation) add(find func(*findings)) {
	f := newFindings(v.o.Lines)
	find(f)
	v.findings.merge(f)
}

func (v *validation) say(severity Severity, kind Kind, line int64, message string) {
	v.add(func(f *findings) { f.say(severity, kind, line, message) })
}

// say adds a finding that is identified by its message.
func (s *findings) say(severity Severity, kind Kind, line int64, message string) {
	s.found(findingKey{kind: kind, about: message}, Place{Line: line}, func() (Severity, string) { return severity, message })
}

// prepare compiles what depends on the header.
func (v *validation) prepare() error {
	encoder, err := v.o.Encoder(v.header.Names)
	if err != nil {
		v.say(Error, KindFile, 1, err.Error())
		return nil
	}
	if err := mapping.CheckHeader(encoder, v.o.PrimaryKey, v.o.Schema, v.traits); err != nil {
		v.say(Error, KindFile, 1, err.Error())
		return nil
	}
	v.encoder, v.keyed, v.nextYear = encoder, -1, time.Now().UTC().Year()+1
	cut := source.InspectOptions{BatchSize: v.o.BatchSize, StartAt: v.o.StartAt, CutAfter: v.o.Canary, MaxEncoded: v.traits.MaxBytes, Unbounded: true}
	if v.o.Draft != nil {
		v.batcher = source.NewDraft(v.header, cut, v.o.Draft)
	} else if v.batcher, err = source.NewBatcher(v.header, cut); err != nil {
		return err
	}
	encoder.Made(func(attribute string, column int) {
		if attribute == v.o.PrimaryKey {
			v.keyed = column
		}
	})
	v.named = v.namedPaths()
	root := newShape(v.o.Schema, v.traits)
	var paths []string
	if v.hasKey = root.at(v.o.PrimaryKey) != nil; v.hasKey {
		paths = append(paths, v.o.PrimaryKey)
	} else {
		meant := ""
		if like := suggest.Name(v.o.PrimaryKey, root.names); like != "" {
			meant = "; did you mean " + like + "?"
		}
		v.say(Error, KindNoKey, 1, fmt.Sprintf("the schema has no attribute %s, which is the primary key; give another with --primary-key%s", strconv.Quote(v.o.PrimaryKey), meant))
	}
	if v.o.Schema != nil {
		paths = append(paths, v.o.Schema.Unique()...)
	}
	for _, path := range paths {
		n := root.at(path)
		if n.unique > 0 || n.reserved {
			continue
		}
		keys, err := dupkeys.NewFinder(v.o.TempDir)
		if err != nil {
			return err
		}
		v.unique = append(v.unique, uniqueAttribute{n.path, keys})
		n.unique = len(v.unique)
	}
	return nil
}

// namedPaths returns which attributes may be named in the report: those at the top, which come from the header or the
// mapping; those that columns are named after; and those of a record whose columns are all empty. Other names come from
// values.
func (v *validation) namedPaths() func(string) bool {
	paths := map[string]bool{}
	add := func(path string) {
		for i, c := range path {
			if c == '.' {
				paths[path[:i]] = true
			}
		}
		paths[path] = true
	}
	for _, name := range v.header.Names {
		add(name)
	}
	if empty, err := v.encoder.AppendJSON(nil, make([]string, len(v.header.Names))); err == nil {
		eachPath(empty, add)
	}
	return func(path string) bool { return paths[path] || !strings.Contains(path, ".") }
}

var kindOfFault = map[mapping.Fault]Kind{
	mapping.BadFields: KindFields, mapping.NoValue: KindEmptyRecord, mapping.HeaderAgain: KindHeaderAgain,
	mapping.NotMapped: KindTransform, mapping.TooLarge: KindTooLarge, mapping.NotTaken: KindNotTaken,
}

// record checks a record. The size of one that is not sent is 0, unless it is too large and so in a batch of its own.
func (w *worker) record(r source.Record) (m source.Measure, sent bool) {
	f := w.checked.findings
	for _, line := range w.header.Swallowed(r.Raw, w.keyed) {
		f.say(Warning, KindQuote, r.Line+int64(line), "the line looks like a record, but is part of a quoted value of the record above it; close that quote, or double it if it belongs to the value")
	}
	fields, err := w.header.AppendFields(w.fields[:0], r.Raw)
	if err != nil {
		f.say(Error, KindFields, r.Line, err.Error())
		return m, false
	}
	w.fields = fields
	w.cells(r, fields)
	json, size, err := mapping.Encode(w.json[:0], w.encoder, w.o.Format, w.header.Names, fields)
	if err != nil {
		return w.unsendable(r, err), false
	}
	w.json = json
	m = source.Measure{Size: size, Keyless: w.encoder.Keyless(w.o.PrimaryKey, fields)}
	if size > w.largest.Bytes {
		w.largest = Size{Bytes: size, Line: r.Line}
	}
	if m.Keyless && w.hasKey && !w.traits.RefusesMark {
		f.found(findingKey{kind: KindNoKey, about: w.o.PrimaryKey}, Place{Line: r.Line}, func() (Severity, string) {
			return Warning, "no value, and it is the primary key: the target cannot refuse such a record as a duplicate. " + migration.KeylessRule
		})
	}
	w.checker.check(json, r.Number, r.Line)
	return m, true
}

// unsendable reports why a record is not sent.
func (w *worker) unsendable(r source.Record, err error) source.Measure {
	var u *mapping.Unsendable
	if !errors.As(err, &u) {
		u = &mapping.Unsendable{Fault: mapping.NotMapped, Reason: err.Error()}
	}
	if u.Fault == mapping.TooLarge { // one finding for all sizes
		u.Reason = fmt.Sprintf("the record is too large for a request; at most %d encoded bytes are allowed", w.traits.MaxBytes)
	}
	w.checked.findings.say(Error, kindOfFault[u.Fault], r.Line, u.Reason)
	return source.Measure{Size: u.Size}
}

// cells reports what is visible in the cells and lost in the encoded record.
func (w *worker) cells(r source.Record, fields []string) {
	f := w.checked.findings
	for i, cell := range fields {
		if variant, message := artefact(cell); variant != 0 && w.encoder.Reads(i) {
			f.found(findingKey{KindCell, w.header.Names[i], variant}, Place{Line: r.Line}, func() (Severity, string) { return Warning, message })
		}
	}
	w.line = r.Line
	w.encoder.Replaced(fields, w.replaced)
}

func (v *validation) closeBatch() {
	if v.batch.sent > 0 {
		v.calls++
		v.report.Sent += int64(v.batch.sent)
		v.batch.size.Bytes += v.traits.Overhead
		if v.batch.size.Bytes > v.report.LargestBatch.Bytes {
			v.report.LargestBatch = v.batch.size
		}
	}
	v.batch = batch{}
}

func (v *validation) end(ctx context.Context, r *source.Reader) (*Report, error) {
	v.closeBatch()
	for _, u := range v.unique {
		if err := v.duplicateKeys(ctx, u); err != nil {
			return nil, err
		}
	}
	v.report.SHA256, v.report.Bytes, v.report.Records = r.SHA256(), r.Size(), r.Records()
	if v.header != nil {
		v.checkSelection()
	}
	v.tellUnique()
	v.report.Findings = v.findings.sorted()
	v.report.Forecast = v.o.Pace.forecast(v.calls, v.report.Sent, v.o.CallTime)
	if v.header == nil {
		v.report.NotChecked = append(v.report.NotChecked, "the records: without a usable header their columns are not known")
	}
	if v.o.Schema == nil {
		v.report.NotChecked = append(v.report.NotChecked, "whether the attributes exist, their types, lengths and required attributes: the schema is not known")
	}
	return v.report, nil
}

// checkSelection reports options that the file is too short for, and a file without records.
func (v *validation) checkSelection() {
	var refusal *source.Refusal
	if err := source.CheckSelection(v.o.Name, v.report.Records, v.o.StartAt, v.o.Canary); errors.As(err, &refusal) {
		v.say(Error, KindSelection, 0, refusal.Reason)
	} else if v.report.Records == 0 {
		v.say(Warning, KindSelection, 0, "the file has a header and no records; there is nothing to load; check the export")
	}
}

// tellUnique reports whether the target refuses a second record with the same primary key.
func (v *validation) tellUnique() {
	switch {
	case !v.hasKey, v.traits.RefusesMark:
	case v.o.Schema == nil && v.o.PrimaryKey == v.traits.DefaultKey:
		v.report.NotChecked = append(v.report.NotChecked, "whether "+v.o.PrimaryKey+" is unique: a migration that cannot read the schema assumes so, as in the platform's default schema")
	case v.o.Schema == nil:
		v.report.NotChecked = append(v.report.NotChecked, "whether "+v.o.PrimaryKey+" is unique: a migration that cannot read the schema assumes that it is not. "+migration.KeylessRule)
	default:
		if keys := migration.NewKeys(v.o.PrimaryKey, *v.o.Schema, v.traits); !keys.Unique {
			v.say(Warning, KindNotUnique, 1, keys.Keyless(int(v.report.Sent), 0).Note)
		}
	}
}

// duplicateKeys reports the records whose value of a unique attribute an earlier record has.
func (v *validation) duplicateKeys(ctx context.Context, u uniqueAttribute) error {
	f := &found{Finding: Finding{Severity: Warning, Kind: KindUniqueTwice, Attribute: u.path,
		Message: "an earlier record has the same value, ignoring case, and the schema requires it to be unique; unless the attribute is case-sensitive, the target refuses all but the first"}}
	if u.path == v.o.PrimaryKey {
		f.Severity, f.Kind, f.Message = Error, KindKeyTwice, "an earlier record has the same key, ignoring case; only the first is created"
	}
	err := u.keys.Each(ctx, v.o.TempDir, func(d dupkeys.Duplicate) error {
		f.Count++
		if len(f.Places) < v.o.Lines {
			f.Places = append(f.Places, Place{Line: d.Line, FirstLine: d.FirstLine})
		}
		return nil
	})
	if err == nil && f.Count > 0 {
		v.findings.list = append(v.findings.list, f)
	}
	return err
}

func (v *validation) close() {
	for _, u := range v.unique {
		u.keys.Close()
	}
}

// Pace is how fast calls may be made.
type Pace struct {
	migration.Limits
	Timeout time.Duration // of a call
}

// forecast says how long calls take. A call that loads records takes longer than a harmless one, which took callTime
// (0 if it was not measured), and at most the timeout.
func (p Pace) forecast(calls, records int64, callTime time.Duration) Forecast {
	return Forecast{
		Calls:    calls,
		AtLeast:  seconds(p.Time(calls, callTime)),
		AtMost:   seconds(p.Time(calls, p.Timeout)),
		Delta:    seconds(p.Time(records, p.Timeout)),
		CallTime: seconds(callTime),
	}
}
