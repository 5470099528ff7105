package kube

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// TestChartGivesTheRightsThatAreNeeded compares what is watched with the ClusterRole that the chart renders: no kind is missing, and none is there in vain.
func TestChartGivesTheRightsThatAreNeeded(t *testing.T) {
	f, err := os.Open(filepath.Join("..", "deploy", "vetch.yaml"))
	require.NoError(t, err)
	defer f.Close()
	var granted []string
	for d := yaml.NewDecoder(f); ; {
		var o struct {
			Kind  string
			Rules []struct {
				APIGroups []string `yaml:"apiGroups"`
				Resources []string
				Verbs     []string
			}
		}
		if err := d.Decode(&o); errors.Is(err, io.EOF) {
			break
		} else {
			require.NoError(t, err)
		}
		if o.Kind != "ClusterRole" {
			continue
		}
		for _, rule := range o.Rules {
			if slices.Contains(rule.Verbs, "list") && slices.Contains(rule.Verbs, "watch") {
				for _, resource := range rule.Resources {
					granted = append(granted, rule.APIGroups[0]+"/"+resource)
				}
			}
		}
	}
	var watched []string
	for _, k := range everyKind() {
		watched = append(watched, k.resource.Group+"/"+k.resource.Resource)
	}
	require.ElementsMatch(t, watched, granted)
}
