package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// value reads and writes one setting as text; *Size and the types below are all there are.
type value interface {
	Set(string) error
	String() string
	Type() string
}

type stringValue string

func (v *stringValue) Set(s string) error {
	if strings.ContainsRune(s, 0) {
		return errors.New("holds a zero byte")
	}
	*v = stringValue(s)
	return nil
}
func (v *stringValue) String() string { return string(*v) }
func (v *stringValue) Type() string   { return "string" }

type boolValue bool

func (v *boolValue) Set(s string) error {
	switch s {
	case "true":
		*v = true
	case "false":
		*v = false
	default:
		return fmt.Errorf("%q is neither true nor false", s)
	}
	return nil
}
func (v *boolValue) String() string { return strconv.FormatBool(bool(*v)) }
func (v *boolValue) Type() string   { return "bool" }

type intValue int

func (v *intValue) Set(s string) error {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		return fmt.Errorf("%q is not a whole number", s)
	}
	*v = intValue(n)
	return nil
}
func (v *intValue) String() string { return strconv.Itoa(int(*v)) }
func (v *intValue) Type() string   { return "int" }

// durationValue is written as Prometheus writes durations ("15d", "1h30m"); fractions as in Go ("1.5s") are read too.
type durationValue time.Duration

func (v *durationValue) Set(s string) error {
	if d, err := model.ParseDuration(s); err == nil {
		*v = durationValue(d)
		return nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return fmt.Errorf("%q is not a duration such as 5s, 10m, 12h or 15d", s)
	}
	*v = durationValue(d.Round(time.Millisecond))
	return nil
}
func (v *durationValue) String() string { return model.Duration(*v).String() }
func (v *durationValue) Type() string   { return "duration" }

// listValue is a YAML list in the file and separated by commas elsewhere. Setting it replaces the whole list.
type listValue []string

func (v *listValue) Set(s string) error {
	var list []string
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	*v = list
	return nil
}
func (v *listValue) String() string { return strings.Join(*v, ",") }
func (v *listValue) Type() string   { return "list" }

// Size is a number of bytes.
type Size int64

// The decimal units.
const (
	KB Size = 1000
	MB      = 1000 * KB
	GB      = 1000 * MB
	TB      = 1000 * GB
)

type sizeUnit struct {
	suffix string
	bytes  Size
}

// sizeUnits lists longer suffixes before those they end with.
func sizeUnits() []sizeUnit {
	return []sizeUnit{
		{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
		{"TB", TB}, {"GB", GB}, {"MB", MB}, {"KB", KB}, {"B", 1},
	}
}

// Set reads "10GB", "1.5TiB", "4096B" or "0". KB, MB, GB, TB are powers of 1000; KiB and so on of 1024.
func (v *Size) Set(s string) error {
	if s == "0" {
		*v = 0
		return nil
	}
	for _, u := range sizeUnits() {
		digits, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
		if bytes := n * float64(u.bytes); err == nil && n >= 0 && bytes < math.MaxInt64 {
			*v = Size(bytes)
			return nil
		}
		break
	}
	return fmt.Errorf("%q is not a size such as 10GB or 512MiB", s)
}

// String writes the size with the largest unit that divides it.
func (v *Size) String() string {
	if *v == 0 {
		return "0"
	}
	best := sizeUnit{"B", 1}
	for _, u := range sizeUnits() {
		if *v%u.bytes == 0 && u.bytes > best.bytes {
			best = u
		}
	}
	return strconv.FormatInt(int64(*v/best.bytes), 10) + best.suffix
}

// Type names the kind of value in help texts.
func (v *Size) Type() string { return "size" }
