package config

import (
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// WriteYAML writes all settings as a file that Load reads to the same, each with where it comes from as a comment.
func (l *Loaded) WriteYAML(w io.Writer) error {
	root := &yaml.Node{Kind: yaml.MappingNode}
	sections := map[string]*yaml.Node{}
	for _, o := range Options() {
		parent, name := root, o.Key
		if s, rest, ok := strings.Cut(o.Key, "."); ok {
			if sections[s] == nil {
				sections[s] = &yaml.Node{Kind: yaml.MappingNode}
				add(root, s, sections[s])
			}
			parent, name = sections[s], rest
		}
		n := o.node(&l.Config)
		source := l.Source[o.Key]
		if source == "" {
			source = "default"
		}
		n.LineComment = source
		add(parent, name, n)
	}
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(root); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return enc.Close()
}

func add(m *yaml.Node, key string, v *yaml.Node) {
	m.Content = append(m.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key}, v)
}

// node is the setting's value in YAML.
func (o Option) node(c *Config) *yaml.Node {
	v := o.of(c)
	if list, ok := v.(*listValue); ok {
		n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, item := range *list {
			n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: item, Style: yaml.DoubleQuotedStyle})
		}
		return n
	}
	n := &yaml.Node{Kind: yaml.ScalarNode, Value: v.String()}
	if v.Type() == "string" {
		n.Tag = "!!str"
	}
	return n
}
