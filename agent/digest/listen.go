package digest

import (
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/agent/process"
	"github.com/vetch-dev/vetch/model"
)

const (
	maxListens     = 4096 // series of listen addresses
	listenAddrs    = 32   // addresses that one listener is shown at
	relistenEvery  = 15 * time.Second
	listenAddrName = "listen_addr"
)

// listenSeries is one address that a container listens at.
type listenSeries struct{ labels labels.Labels }

// listening makes the series of listen addresses; heard is false while nothing has changed. It is for the goroutine of Apply, without the lock.
func (d *Digest) listening(s probe.Snapshot) (list []listenSeries, heard bool) {
	if s.Time.Sub(d.heardAt) < relistenEvery && slices.Equal(s.Listeners, d.heard) {
		return nil, false
	}
	d.heardAt, d.heard = s.Time, slices.Clone(s.Listeners)
	seen := make(map[[3]string]struct{})
	for _, l := range s.Listeners {
		id, ok := d.book.Identity(l.Owner)
		if !ok {
			d.heardAt = time.Time{} // look again: its record is still to come
			continue
		}
		key := containerKey{id: process.Clean(id.ContainerID, maxName), app: process.Clean(id.AppID, maxName)}
		for _, at := range d.book.Reachable(l, listenAddrs) {
			text := hostPort(at)
			unique := [3]string{key.id, key.app, text}
			if _, ok := seen[unique]; ok || len(list) >= maxListens {
				continue
			}
			seen[unique] = struct{}{}
			list = append(list, listenSeries{d.containerLabels(key, listenAddrName, text)})
		}
	}
	return list, true
}

// markListening keeps the series of workloads that still listen.
func (d *Digest) markListening(s probe.Snapshot) {
	open := make(map[model.Workload]struct{})
	for _, l := range s.Listeners {
		if id, ok := d.book.Identity(l.Owner); ok {
			open[process.CleanWorkload(id.Workload)] = struct{}{}
		}
	}
	for _, serving := range d.served {
		_, listening := open[serving.workload]
		if serving.listening && !listening {
			serving.changed = s.Time
		}
		serving.listening = listening
	}
}
