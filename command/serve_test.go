package command

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/config"
	"github.com/vetch-dev/vetch/model"
	"github.com/vetch-dev/vetch/store/metrics"
)

func TestScheme(t *testing.T) {
	dir := t.TempDir()
	for name, tc := range map[string]struct{ text, want string }{
		"tls":       {"tls_server_config: {cert_file: a, key_file: b}", "https"},
		"only auth": {"basic_auth_users: {a: b}", "http"},
		"empty":     {"", "http"},
		"broken":    {"[", "http"},
	} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(tc.text), 0o600))
		require.Equal(t, tc.want, scheme(path), name)
	}
	require.Equal(t, "http", scheme(""))
}

func TestWhereToLook(t *testing.T) {
	for text, want := range map[string]string{"0.0.0.0:1": "127.0.0.1:1", "[::]:2": "127.0.0.1:2", "[::1]:3": "[::1]:3", "10.1.2.3:4": "10.1.2.3:4"} {
		a, err := net.ResolveTCPAddr("tcp", text)
		require.NoError(t, err)
		require.Equal(t, want, reachable(a))
	}
	require.Empty(t, serverFlag("http://127.0.0.1:4780"))
	require.Equal(t, " --server https://127.0.0.1:4780", serverFlag("https://127.0.0.1:4780"))
}

func TestLogLevelsAndLibraries(t *testing.T) {
	l, err := config.Load(config.Input{Env: []string{"VETCH_LOG_FORMAT=json", "VETCH_LOG_LEVEL=info", "VETCH_SERVICE_PORT=1"}})
	require.NoError(t, err)
	var out bytes.Buffer
	log := newLog(program{stderr: &out}, l)
	require.Contains(t, out.String(), "VETCH_SERVICE_PORT")
	out.Reset()
	quiet := library(log, l).With("part", "store").WithGroup("g")
	log.Debug("a")
	log.Info("b")
	quiet.Info("c")
	quiet.Warn("d")
	var lines []string
	for dec := json.NewDecoder(&out); dec.More(); {
		var line struct{ Msg string }
		require.NoError(t, dec.Decode(&line))
		lines = append(lines, line.Msg)
	}
	require.Equal(t, []string{"b", "d"}, lines)
	l.Log.Level = "debug"
	require.Same(t, log, library(log, l))
}

// gathered is a model.Gatherer of fixed samples.
type gathered []model.Sample

func (g gathered) Gather(emit func(model.Sample)) {
	for _, s := range g {
		emit(s)
	}
}

func TestStatusIsTheOneOfTheContract(t *testing.T) {
	reg := prometheus.NewRegistry()
	db, err := metrics.Open(metrics.Options{Dir: t.TempDir(), Registerer: reg, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	var agent lateGatherer
	s := &status{reg: reg, agent: &agent, db: db, home: "west"}
	app := db.AppenderV2(t.Context())
	_, err = app.Append(0, labels.FromStrings("__name__", "up", "cluster", "east"), 0, time.Now().UnixMilli(), 1, nil, nil, storage.AOptions{})
	require.NoError(t, err)
	require.NoError(t, app.Commit())
	require.ErrorIs(t, agent.ready(), errLoading)
	require.False(t, s.read().(statusAnswer).Ready)

	agent.set(gathered{
		{Family: &model.Family{Name: "vetch_probe_hook_attached"}, Labels: labels.FromStrings("hook", "sys_exit"), Value: 0},
		{Family: &model.Family{Name: "vetch_probe_hook_attached"}, Labels: labels.FromStrings("hook", "sock_send_length"), Value: 1},
		{Family: &model.Family{Name: "vetch_probe_events_lost_total"}, Labels: labels.FromStrings("reason", "pairs_full"), Value: 3},
	})
	got := s.read().(statusAnswer)
	require.True(t, got.Ready)
	require.Equal(t, []string{"east", "west"}, got.Clusters)
	require.Equal(t, map[string]bool{"sys_exit": false, "sock_send_length": true}, got.Hooks)
	require.Equal(t, 3.0, got.Losses["probe: pairs_full"])
	require.Contains(t, got.Losses, "store: disk_full", "a loss of 0 is shown too")

	doc, err := openapi3.NewLoader().LoadFromFile("../api/openapi.yaml")
	require.NoError(t, err)
	text, err := json.Marshal(got)
	require.NoError(t, err)
	var plain any
	require.NoError(t, json.Unmarshal(text, &plain))
	require.NoError(t, doc.Components.Schemas["Status"].Value.VisitJSON(plain))
}
