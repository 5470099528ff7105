package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/vetch-dev/vetch/config"
)

// root is the root of the repository, as tests see it.
var root = filepath.Join("..", "..")

// TestManifestsHoldSettingsThatExist reads the settings in deploy/vetch.yaml as vetch itself does.
func TestManifestsHoldSettingsThatExist(t *testing.T) {
	f, err := os.Open(filepath.Join(root, plainManifests))
	require.NoError(t, err)
	defer f.Close()
	found := map[string]bool{}
	for d := yaml.NewDecoder(f); ; {
		var o struct {
			Kind     string
			Metadata struct{ Name string }
			Data     map[string]string
		}
		if err := d.Decode(&o); errors.Is(err, io.EOF) {
			break
		} else {
			require.NoError(t, err)
		}
		text, has := o.Data["vetch.yml"]
		if o.Kind != "ConfigMap" || !has {
			continue
		}
		found[o.Metadata.Name] = true
		path := filepath.Join(t.TempDir(), "vetch.yml")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, err := config.Load(config.Input{Path: path})
		for line := range strings.Lines(errorText(err)) { // the files that it names are there in pods only
			require.Contains(t, line, "no such file or directory", o.Metadata.Name)
		}
	}
	require.Equal(t, map[string]bool{"vetch-agent": true, "vetch-watcher": true, "vetch-server": true}, found)
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return strings.TrimSpace(err.Error())
}

// schema is as much of JSON Schema as values.schema.json uses for objects.
type schema struct {
	Ref        string `json:"$ref"`
	Properties map[string]schema
	Additional any `json:"additionalProperties"`
}

// TestSchemaKnowsEveryValue holds that each value of the chart is in its schema, and that it refuses others beside it.
func TestSchemaKnowsEveryValue(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, chartFolder, "values.yaml"))
	require.NoError(t, err)
	var values map[string]any
	require.NoError(t, yaml.Unmarshal(text, &values))
	text, err = os.ReadFile(filepath.Join(root, chartFolder, "values.schema.json"))
	require.NoError(t, err)
	var s struct {
		schema
		Definitions map[string]schema
	}
	require.NoError(t, json.Unmarshal(text, &s))
	var walk func(path string, s schema, v map[string]any)
	definitions := s.Definitions
	walk = func(path string, s schema, v map[string]any) {
		if name, ok := strings.CutPrefix(s.Ref, "#/definitions/"); ok {
			s = definitions[name]
		}
		if s.Properties == nil {
			return // anything may be below it, as in config
		}
		require.Equal(t, false, s.Additional, "%s takes what it does not know", path)
		for key, below := range v {
			require.Contains(t, s.Properties, key, path)
			if m, ok := below.(map[string]any); ok {
				walk(path+"."+key, s.Properties[key], m)
			}
		}
	}
	walk("values", s.schema, values)
}

// TestCapabilitiesAreTheOnesChecked holds that the harness expects of agents what the chart gives them.
func TestCapabilitiesAreTheOnesChecked(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, chartFolder, "values.yaml"))
	require.NoError(t, err)
	var values struct {
		Agent struct{ Capabilities []string }
	}
	require.NoError(t, yaml.Unmarshal(text, &values))
	var checked []string
	for name := range agentRights {
		checked = append(checked, name)
	}
	require.ElementsMatch(t, values.Agent.Capabilities, checked)
}
