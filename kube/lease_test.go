package kube

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/transport/names"
)

// TestReplicaThatStandsByIsReady meets a lease that another replica holds and renews.
func TestReplicaThatStandsByIsReady(t *testing.T) {
	f := &fakeAPI{Server: httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "GET /apis/coordination.k8s.io/v1/namespaces/vetch/leases/watcher", r.Method+" "+r.URL.Path)
		now := time.Now().UTC().Format("2006-01-02T15:04:05.000000Z")
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"kind":"Lease","apiVersion":"coordination.k8s.io/v1","metadata":{"name":"watcher","namespace":"vetch","resourceVersion":"1"},
			"spec":{"holderIdentity":"another","leaseDurationSeconds":15,"acquireTime":%q,"renewTime":%q,"leaseTransitions":1}}`, now, now)
	}))}
	defer f.Close()
	w, err := New(Options{Kubeconfig: f.kubeconfig(t), Feed: names.NewFeed(names.FeedOptions{}), Lease: "vetch/watcher"})
	require.NoError(t, err)
	require.ErrorIs(t, w.Ready(), errWaiting)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { assert.NoError(t, w.Run(ctx)) })
	require.EventuallyWithT(t, func(t *assert.CollectT) { require.NoError(t, w.Ready()) }, time.Minute, 10*time.Millisecond)
	select {
	case <-w.Led():
		t.Error("it takes subscribers")
	default:
	}
	cancel()
	wg.Wait()
}
