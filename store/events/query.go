package events

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/vetch-dev/vetch/store"
	"github.com/vetch-dev/vetch/store/columnar"
)

// maxChosen bounds the values of one property in a query.
const maxChosen = 100

// rangeOf translates a query.
func rangeOf(q store.EventQuery) (columnar.Range, error) {
	r := columnar.Range{Start: q.Start, End: q.End}
	if q.End.Before(q.Start) {
		return r, fmt.Errorf("%w: it ends before it begins", store.ErrBadQuery)
	}
	var filters []columnar.Filter
	for property, values := range q.Is {
		if err := checkProperty(property); err != nil {
			return r, err
		}
		switch {
		case len(values) == 0:
		case len(values) > maxChosen:
			return r, fmt.Errorf("%w: %d values of %s, more than %d", store.ErrBadQuery, len(values), property, maxChosen)
		case property == store.EventSource:
			filters = append(filters, columnar.FromStream(property, values...))
		default:
			filters = append(filters, columnar.Is(property, values...))
		}
	}
	if q.Text != "" {
		f, err := columnar.Contains(q.Text)
		if err != nil {
			return r, translate(err)
		}
		filters = append(filters, f)
	}
	if q.Match != "" {
		f, err := columnar.Matches(q.Match)
		if err != nil {
			return r, translate(err)
		}
		filters = append(filters, f)
	}
	r.Filter = columnar.All(filters...)
	return r, nil
}

func checkProperty(name string) error {
	if slices.Contains(store.EventProperties(), name) {
		return nil
	}
	return fmt.Errorf("%w: events have no %.40q, but %s", store.ErrBadQuery, name, strings.Join(store.EventProperties(), ", "))
}

// cursor is a position as text: LAST-NUMBER.
func cursor(p columnar.MergedPosition) string {
	return strconv.FormatInt(p.Last, 10) + "-" + strconv.FormatUint(p.Number, 10)
}

func parseCursor(text string) (p columnar.MergedPosition, err error) {
	if text == "" {
		return p, nil
	}
	last, number, ok := strings.Cut(text, "-")
	if p.Last, err = strconv.ParseInt(last, 10, 64); ok && err == nil {
		if p.Number, err = strconv.ParseUint(number, 10, 64); err == nil {
			return p, nil
		}
	}
	return p, fmt.Errorf("%w: %.60q is not where a page ended", store.ErrBadQuery, text)
}
