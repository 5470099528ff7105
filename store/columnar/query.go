package columnar

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The bounds of answers.
const (
	maxRows       = 10_000
	maxGroups     = 10_000
	maxAnswer     = 64 << 20 // bytes of one answer
	layoutNano    = "2006-01-02T15:04:05.000000000Z"
	columnCount   = "n"
	columnFirst   = "lo"
	columnLast    = "hi"
	columnNumber  = "q"
	columnOnce    = "u"
	columnRow     = "row"
	columnsOfOurs = "n lo hi q u row _time"
)

// Range is what a query looks at: from Start to End, both included, and what the filter takes.
type Range struct {
	Start, End time.Time
	Filter     Filter
}

// Row is a record that was found. The fields of its stream are among its fields.
type Row struct {
	Time    time.Time
	Number  uint64 // unique, and rising in the order in which records were stored
	Message string
	Fields  map[string]string
}

// Position is behind a row, for the next page. The zero value is the beginning.
type Position struct {
	Time   time.Time
	Number uint64
}

// Newest returns at most limit records (1 to 10,000), newest first, those that come behind after. Errors: ErrInvalid, ErrTooLarge, ErrTimeout, ErrClosed, or
// the context's.
func (db *DB) Newest(ctx context.Context, r Range, limit int, after Position) ([]Row, error) {
	if limit < 1 || limit > maxRows {
		return nil, fmt.Errorf("%w: a limit of %d, not 1 to %d", ErrInvalid, limit, maxRows)
	}
	condition := r.Filter.String()
	if !after.Time.IsZero() {
		if after.Time.Before(r.End) {
			r.End = after.Time
		}
		at := after.Time.UTC().Format(layoutNano)
		condition = fmt.Sprintf("(%s) (!%s:[%s, %s] or %s:<%d)", condition, fieldTime, at, at, fieldNumber, after.Number)
	}
	var rows []Row
	err := db.ask(ctx, fmt.Sprintf("%s | sort by (%s desc, %s desc) limit %d", condition, fieldTime, fieldNumber, limit), r, func(get func(string) string, names []string) error {
		row, err := rowOf(get, names)
		rows = append(rows, row)
		return err
	})
	return rows, err
}

// rowOf reads a record; what the engine adds of its own is left out.
func rowOf(get func(string) string, names []string) (Row, error) {
	at, err := time.Parse(time.RFC3339Nano, get(fieldTime))
	if err != nil {
		return Row{}, fmt.Errorf("read a row: %w", err)
	}
	number, err := strconv.ParseUint(get(fieldNumber), 10, 64)
	if err != nil {
		return Row{}, fmt.Errorf("read a row: %w", err)
	}
	row := Row{Time: at, Number: number, Message: strings.Clone(get(fieldMessage)), Fields: map[string]string{}}
	for _, name := range names {
		if v := get(name); v != "" && !strings.HasPrefix(name, "_") {
			row.Fields[strings.Clone(name)] = strings.Clone(v)
		}
	}
	return row, nil
}

// Merge asks for records of which several belong together. Key is the field that says which; Count is the field whose sum is how often it happened, First
// and Last are fields with whole numbers of which the lowest and the highest count. Each value of the field Once adds 1 to that sum, however many of the
// records have it; "": there is no such field.
type Merge struct{ Key, Count, Once, First, Last string }

// Merged is one of several records that belong together, the newest, with what they have in common.
type Merged struct {
	Row         Row
	Count       uint64
	First, Last int64
	Number      uint64 // the highest of theirs
}

// MergedPosition is behind one, for the next page. The zero value is the beginning.
type MergedPosition struct {
	Last   int64
	Number uint64
}

// Merged returns at most limit (1 to 10,000), the one with the highest Last first, those that come behind after. Its memory is bounded by the keys in the
// range, and that by ErrTooLarge. Errors as of Newest.
func (db *DB) Merged(ctx context.Context, r Range, m Merge, limit int, after MergedPosition) ([]Merged, error) {
	if limit < 1 || limit > maxRows {
		return nil, fmt.Errorf("%w: a limit of %d, not 1 to %d", ErrInvalid, limit, maxRows)
	}
	query := fmt.Sprintf("%s | stats by (%q) sum(%q) as %s, min(%q) as %s, max(%q) as %s, max(%s) as %s, row_max(%s) as %s", r.Filter, m.Key,
		m.Count, columnCount, m.First, columnFirst, m.Last, columnLast, fieldNumber, columnNumber, fieldNumber, columnRow)
	if m.Once != "" {
		query += fmt.Sprintf(", count_uniq(%q) as %s", m.Once, columnOnce)
	}
	if after != (MergedPosition{}) {
		query += fmt.Sprintf(" | filter (%s:<%d or (%s:=%d %s:<%d))", columnLast, after.Last, columnLast, after.Last, columnNumber, after.Number)
	}
	query += fmt.Sprintf(" | sort by (%s desc, %s desc) limit %d", columnLast, columnNumber, limit)
	var found []Merged
	err := db.ask(ctx, query, r, func(get func(string) string, _ []string) error {
		one, err := mergedOf(get, m.Once != "")
		found = append(found, one)
		return err
	})
	return found, err
}

func mergedOf(get func(string) string, once bool) (m Merged, err error) {
	var errs [5]error
	m.Count, errs[0] = strconv.ParseUint(get(columnCount), 10, 64)
	m.First, errs[1] = strconv.ParseInt(get(columnFirst), 10, 64)
	m.Last, errs[2] = strconv.ParseInt(get(columnLast), 10, 64)
	m.Number, errs[3] = strconv.ParseUint(get(columnNumber), 10, 64)
	if once {
		var n uint64
		n, errs[4] = strconv.ParseUint(get(columnOnce), 10, 64)
		m.Count += n
	}
	if err := errors.Join(errs[:]...); err != nil {
		return m, fmt.Errorf("read a group: %w", err)
	}
	fields := map[string]string{}
	if err := json.Unmarshal([]byte(get(columnRow)), &fields); err != nil {
		return m, fmt.Errorf("read a group: %w", err)
	}
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	m.Row, err = rowOf(func(name string) string { return fields[name] }, names)
	return m, err
}

// Group is the sum of a field over the records of one stretch of time with the same values.
type Group struct {
	Start  time.Time
	Values []string // of the fields that were asked by
	Sum    uint64
}

// Sum adds up a field over stretches of step, which begin at whole multiples of it since 1970, by the values of some fields. Each value of the field once
// adds 1, where the newest of the records that have it is; "": there is no such field. At most 10,000 groups, else ErrTooLarge; in no order. Errors as of
// Newest.
func (db *DB) Sum(ctx context.Context, r Range, field, once string, step time.Duration, by ...string) ([]Group, error) {
	if step <= 0 {
		return nil, fmt.Errorf("%w: a step of %s", ErrInvalid, step)
	}
	names := ""
	for _, name := range by {
		if strings.Contains(" "+columnsOfOurs+" ", " "+name+" ") {
			return nil, fmt.Errorf("%w: a sum by %q", ErrInvalid, name)
		}
		names += fmt.Sprintf(", %q", name)
	}
	keys := fmt.Sprintf("%s:%dms%s", fieldTime, max(step.Milliseconds(), 1), names)
	groups, err := db.groups(ctx, fmt.Sprintf("%s | stats by (%s) sum(%q) as %s", r.Filter, keys, field, columnCount), r, by)
	if err != nil || once == "" {
		return groups, err
	}
	newest := fmt.Sprintf("stats by (%q) row_max(%s, %s%s) as %s", once, fieldNumber, fieldTime, names, columnRow)
	unpack := fmt.Sprintf("unpack_json from %s fields (%s%s)", columnRow, fieldTime, names)
	more, err := db.groups(ctx, fmt.Sprintf("(%s) %q:* | %s | %s | stats by (%s) count() as %s", r.Filter, once, newest, unpack, keys, columnCount), r, by)
	if err != nil {
		return nil, err
	}
	if groups = added(groups, more); len(groups) > maxGroups {
		return nil, fmt.Errorf("%w: more than %d groups", ErrTooLarge, maxGroups)
	}
	return groups, nil
}

// groups reads the answer of a query whose columns are a time, those of by, and a sum.
func (db *DB) groups(ctx context.Context, query string, r Range, by []string) ([]Group, error) {
	var groups []Group
	err := db.ask(ctx, fmt.Sprintf("%s | limit %d", query, maxGroups+1), r, func(get func(string) string, _ []string) error {
		if len(groups) == maxGroups {
			return fmt.Errorf("%w: more than %d groups", ErrTooLarge, maxGroups)
		}
		at, err := time.Parse(time.RFC3339Nano, get(fieldTime))
		if err != nil {
			return fmt.Errorf("read a sum: %w", err)
		}
		sum, err := strconv.ParseUint(get(columnCount), 10, 64)
		if err != nil {
			return fmt.Errorf("read a sum: %w", err)
		}
		g := Group{Start: at, Sum: sum}
		for _, name := range by {
			g.Values = append(g.Values, strings.Clone(get(name)))
		}
		groups = append(groups, g)
		return nil
	})
	return groups, err
}

// added joins two lists of groups.
func added(groups, more []Group) []Group {
	key := func(g *Group) string { return fmt.Sprintf("%d %q", g.Start.UnixNano(), g.Values) }
	at := make(map[string]int, len(groups))
	for i := range groups {
		at[key(&groups[i])] = i
	}
	for i := range more {
		if j, ok := at[key(&more[i])]; ok {
			groups[j].Sum += more[i].Sum
		} else {
			groups = append(groups, more[i])
		}
	}
	return groups
}

// ask runs a query when it is its turn, and calls row for each row of the answer; what get returns is gone when row returns.
func (db *DB) ask(ctx context.Context, query string, r Range, row func(get func(string) string, names []string) error) (err error) {
	defer func() {
		if err != nil {
			db.failed(err)
		}
	}()
	ctx, leave, err := db.readers.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	ctx, cancel := context.WithTimeoutCause(ctx, db.opts.QueryTimeout, fmt.Errorf("%w: more than %s; ask for less", ErrTimeout, db.opts.QueryTimeout))
	defer cancel()
	select {
	case db.queries <- struct{}{}:
		defer func() { <-db.queries }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if r.End.Before(r.Start) {
		return nil
	}
	bytes := 0
	var wrong error
	err = db.engine.run(ctx, query, r.Start, r.End, func(columns []column) bool {
		var names []string
		values := make(map[string][]string, len(columns))
		for _, c := range columns {
			names = append(names, c.name)
			values[c.name] = c.values
			for _, v := range c.values {
				bytes += len(v)
			}
		}
		if bytes > maxAnswer {
			wrong = fmt.Errorf("%w: more than %d MiB", ErrTooLarge, maxAnswer>>20)
			return false
		}
		for i := 0; len(columns) > 0 && i < len(columns[0].values) && wrong == nil; i++ {
			wrong = row(func(name string) string {
				if list := values[name]; i < len(list) {
					return list[i]
				}
				return ""
			}, names)
		}
		return wrong == nil
	})
	return errors.Join(wrong, err)
}
