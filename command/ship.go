package command

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/vetch-dev/vetch/config"
	"github.com/vetch-dev/vetch/model"
	"github.com/vetch-dev/vetch/store"
	"github.com/vetch-dev/vetch/transport"
	"github.com/vetch-dev/vetch/transport/spool"
)

// origin are the labels that say where series come from.
func origin(l *config.Loaded) (labels.Labels, error) {
	node := l.Node
	if node == "" {
		var err error
		if node, err = os.Hostname(); err != nil {
			return labels.EmptyLabels(), err
		}
	}
	return labels.FromStrings("cluster", l.Cluster, "node", node), nil
}

// collect takes what from hands out into a store or to where it is sent, with the labels of this process.
func collect(l *config.Loaded, log *slog.Logger, into store.Sink, from model.Gatherer, end bool) (*store.Collector, error) {
	where, err := origin(l)
	if err != nil {
		return nil, err
	}
	return store.NewCollector(store.CollectorOptions{Into: into, From: from, Interval: l.Metrics.Interval, Labels: where, EndSeries: end, Log: log})
}

// newSender opens the spool of what goes to the server.
func newSender(l *config.Loaded, log *slog.Logger, reg prometheus.Registerer) (*transport.Sender, error) {
	o := transport.SenderOptions{
		URL: l.Server, UserAgent: "vetch/" + Version(), Log: log, Registerer: reg,
		Credentials: transport.Credentials{
			CAFile: l.Ship.CAFile, CertFile: l.Ship.CertFile, KeyFile: l.Ship.KeyFile,
			TokenFile: l.Ship.TokenFile, Username: l.Ship.Username, PasswordFile: l.Ship.PasswordFile,
		},
	}
	if l.Ship.SpoolSize > 0 {
		o.SpoolDir, o.SpoolLimit = filepath.Join(l.DataDir, "spool"), int64(l.Ship.SpoolSize)
	}
	s, err := transport.NewSender(o)
	if err != nil && !errors.Is(err, spool.ErrInUse) && !errors.Is(err, spool.ErrNewerVersion) {
		return nil, wrongConfig(err)
	}
	return s, err
}
