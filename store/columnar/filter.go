package columnar

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
)

// The bounds of what is looked for. Its time is that of its steps times the bytes that it looks at, and a query is ended only between blocks of
// 2 MiB: with 250 steps these are seconds.
const (
	maxText    = 250 // bytes
	maxPattern = 1000
	maxSteps   = 250 // instructions of a regular expression
)

// Filter chooses records. The zero value takes all. It holds its condition in LogsQL, in which every name and value is quoted.
type Filter struct{ text string }

// String is the condition in LogsQL.
func (f Filter) String() string {
	if f.text == "" {
		return "*"
	}
	return f.text
}

// FromStream takes the records of streams in which the field has one of the values. It skips other streams without reading them.
func FromStream(name string, values ...string) Filter {
	return Filter{fmt.Sprintf("{%s in (%s)}", strconv.Quote(name), quoted(values))}
}

// Is takes the records in which the field has one of the values.
func Is(name string, values ...string) Filter {
	return Filter{fmt.Sprintf("%s:in(%s)", strconv.Quote(name), quoted(values))}
}

// Contains takes the records whose message contains the text, in letters of any case. Error: ErrInvalid for one of more than 250 bytes.
func Contains(text string) (Filter, error) {
	if len(text) > maxText {
		return Filter{}, fmt.Errorf("%w: a text of %d bytes, more than %d", ErrInvalid, len(text), maxText)
	}
	return matching("(?i)" + regexp.QuoteMeta(text)), nil
}

// Matches takes the records whose message matches the regular expression (RE2). Error: ErrInvalid for one that is too long or too large, or is none.
func Matches(expression string) (Filter, error) {
	if len(expression) > maxPattern {
		return Filter{}, fmt.Errorf("%w: a pattern of %d bytes, more than %d", ErrInvalid, len(expression), maxPattern)
	}
	parsed, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return Filter{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return Filter{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if len(program.Inst) > maxSteps {
		return Filter{}, fmt.Errorf("%w: a pattern with %d steps, more than %d: repeat less", ErrInvalid, len(program.Inst), maxSteps)
	}
	return matching(expression), nil
}

func matching(expression string) Filter {
	return Filter{fmt.Sprintf("%s:~%s", fieldMessage, strconv.Quote(expression))}
}

// All takes the records that all filters take.
func All(filters ...Filter) Filter {
	var parts []string
	for _, f := range filters {
		if f.text != "" {
			parts = append(parts, "("+f.text+")")
		}
	}
	return Filter{strings.Join(parts, " ")}
}

func quoted(values []string) string {
	list := make([]string, len(values))
	for i, v := range values {
		list[i] = strconv.Quote(v)
	}
	return strings.Join(list, ",")
}
