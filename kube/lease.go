package kube

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// The times of a lease are those that Kubernetes' own components use.
const (
	leaseTime  = 15 * time.Second
	renewTime  = 10 * time.Second
	renewEvery = 2 * time.Second
)

// lead waits for the lease and follows the cluster while it is held. It gives the lease back at the end, so that another replica need not wait.
func (w *Watcher) lead(ctx context.Context) error {
	namespace, name, _ := strings.Cut(w.options.Lease, "/")
	client, err := coordinationv1.NewForConfigAndClient(w.api.config, w.api.http)
	if err != nil {
		return fmt.Errorf("prepare to ask for the lease: %w", err)
	}
	leading, stop := context.WithCancel(ctx)
	defer stop()
	var began atomic.Bool
	done := make(chan error, 1)
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Client: client,
			LockConfig: resourcelock.ResourceLockConfig{Identity: w.options.Identity},
		},
		LeaseDuration: leaseTime, RenewDeadline: renewTime, RetryPeriod: renewEvery, ReleaseOnCancel: true, Name: "vetch-watcher",
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) {
				w.log.Info("this replica watches the cluster", "lease", w.options.Lease)
				began.Store(true)
				done <- w.follow(ctx)
				stop()
			},
			OnStoppedLeading: func() {},
			OnNewLeader: func(identity string) {
				w.standby.Store(identity != w.options.Identity && identity != "")
				if identity != w.options.Identity {
					w.log.Info("another replica watches the cluster", "replica", identity)
				}
			},
		},
	})
	if err != nil {
		return fmt.Errorf("prepare the lease: %w", err)
	}
	elector.Run(leading)
	if began.Load() {
		err = <-done
	}
	if ctx.Err() != nil || err != nil {
		return err
	}
	return ErrLeaseLost
}
