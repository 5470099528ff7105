package config

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds a configuration file; a real one is some hundred bytes.
const maxFile = 1 << 20

// maxErrors is after how many errors a file is not read on, and maxName how much of a foreign name an error shows.
const (
	maxErrors = 10
	maxName   = 80
)

// setting is one key of the file with its text and line.
type setting struct {
	option Option
	items  []string // the values: one, or any number where list is set
	list   bool
	line   int
}

// parseYAML reads a file into settings. It knows every key: one that it does not know, twice the same, an alias or a second
// document is an error that names the line.
func parseYAML(r io.Reader) ([]setting, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("larger than %d bytes", maxFile)
	}
	dec := yaml.NewDecoder(strings.NewReader(string(text)))
	var doc yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("holds more than one YAML document")
	}
	if len(doc.Content) != 1 || isNull(doc.Content[0]) {
		return nil, nil
	}
	w := walker{seen: map[string]int{}}
	w.mapping(doc.Content[0], "")
	return w.settings, errors.Join(w.errs...)
}

// walker collects settings and all errors of one document, so that the user mends them in one go.
type walker struct {
	settings []setting
	seen     map[string]int // key -> line
	errs     []error
}

func (w *walker) fail(line int, format string, args ...any) {
	w.errs = append(w.errs, fmt.Errorf("line %d: %w", line, fmt.Errorf(format, args...)))
}

// mapping reads the keys below prefix, which is "" or a section with its dot.
func (w *walker) mapping(n *yaml.Node, prefix string) {
	if n.Kind != yaml.MappingNode {
		w.fail(n.Line, "%s must hold keys, not %s", section(prefix), kindName(n))
		return
	}
	for i := 0; i+1 < len(n.Content) && len(w.errs) < maxErrors; i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode || k.Tag == "!!merge" {
			w.fail(k.Line, "a key must be a plain word, not %s", kindName(k))
			continue
		}
		key := prefix + k.Value
		if first, twice := w.seen[key]; twice {
			w.fail(k.Line, "key %q is already set in line %d", shorten(key), first)
			continue
		}
		w.seen[key] = k.Line
		if o, ok := find(key); ok {
			w.value(o, v)
		} else if isSection(key) {
			if !isNull(v) { // all its keys may be commented out
				w.mapping(v, key+".")
			}
		} else {
			w.fail(k.Line, "unknown key %q%s", shorten(key), hint(key, knownKeys()))
		}
	}
}

func (w *walker) value(o Option, n *yaml.Node) {
	s := setting{option: o, line: n.Line}
	switch {
	case n.Kind == yaml.SequenceNode && o.Type() == "list":
		s.list = true
		for _, item := range n.Content {
			if item.Kind != yaml.ScalarNode || isNull(item) {
				w.fail(item.Line, "%s: an item must be text, not %s", o.Key, kindName(item))
				return
			}
			s.items = append(s.items, item.Value)
		}
	case n.Kind != yaml.ScalarNode:
		w.fail(n.Line, "%s must be a %s, not %s", o.Key, o.Type(), kindName(n))
		return
	case isNull(n):
		w.fail(n.Line, "%s has no value", o.Key)
		return
	default:
		s.items = []string{n.Value}
	}
	w.settings = append(w.settings, s)
}

// apply writes the setting into c.
func (s setting) apply(c *Config) error {
	if s.list {
		// Item by item, for a path in a file may hold a comma.
		*s.option.of(c).(*listValue) = slices.Clone(s.items)
		return nil
	}
	return s.option.Set(c, s.items[0])
}

func shorten(name string) string {
	if len(name) <= maxName {
		return name
	}
	return name[:maxName] + "..."
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func isSection(key string) bool {
	return slices.ContainsFunc(Options(), func(o Option) bool { return strings.HasPrefix(o.Key, key+".") })
}

func section(prefix string) string {
	if prefix == "" {
		return "the file"
	}
	return strings.TrimSuffix(prefix, ".")
}

func kindName(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "keys"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.AliasNode:
		return "an alias"
	case isNull(n):
		return "nothing"
	}
	return "a value"
}
