package config

import (
	"fmt"
	"strings"
)

// ParseKeptTexts reads what labels or annotations of objects are told: "pods=team", or "pods=*" for all of them, one an item. The answer is by resource.
func ParseKeptTexts(list []string) (map[string][]string, error) {
	kept := make(map[string][]string)
	for _, item := range list {
		resource, name, ok := strings.Cut(item, "=")
		if !ok || resource == "" || name == "" {
			return nil, fmt.Errorf("must be like pods=team or nodes=*, not %q", item)
		}
		kept[resource] = append(kept[resource], name)
	}
	return kept, nil
}
