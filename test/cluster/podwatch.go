package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// podWatch follows the pods of the simulated workloads by the API itself: when it tells that one runs is what names are compared with.
type podWatch struct {
	server  string
	client  http.Client
	deleted atomic.Int64

	mu    sync.Mutex
	ready map[string]time.Time // by uid
	alive map[string]string    // name by uid, of those that run and are not being deleted
}

func newPodWatch(pki, kubeconfig string) (*podWatch, error) {
	cert, err := tls.LoadX509KeyPair(filepath.Join(pki, "admin.crt"), filepath.Join(pki, "admin.key"))
	if err != nil {
		return nil, fmt.Errorf("read the administrator's certificate: %w", err)
	}
	ca, err := os.ReadFile(filepath.Join(pki, "ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("read the authority's certificate: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	text, err := os.ReadFile(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	_, rest, _ := strings.Cut(string(text), `server: "`)
	server, _, ok := strings.Cut(rest, `"`)
	if !ok {
		return nil, errors.New("the kubeconfig names no server")
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: roots, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
	return &podWatch{
		server: server, client: http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}},
		ready: map[string]time.Time{}, alive: map[string]string{},
	}, nil
}

// run follows the pods until ctx ends, and begins anew when a watch ends: an API server that has much to do refuses some.
func (p *podWatch) run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := p.follow(ctx); err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "watch pods:", err)
			time.Sleep(time.Second)
		}
	}
	return nil
}

// follow reads one watch to its end. It begins with the pods that are there.
func (p *podWatch) follow(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.server+"/api/v1/namespaces/"+scaleNamespace+"/pods?watch=true&timeoutSeconds=3600", http.NoBody)
	if err != nil {
		return err
	}
	response, err := p.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	lines := bufio.NewReaderSize(response.Body, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return nil //nolint:nilerr // the watch has ended
		}
		o, kind, err := readEvent(line)
		if err != nil {
			return err
		}
		now := time.Now()
		p.mu.Lock()
		if o.Status.Phase == "Running" && o.Status.PodIP != "" && p.ready[o.Metadata.UID].IsZero() {
			p.ready[o.Metadata.UID] = now
		}
		if kind == "DELETED" || o.Metadata.DeletionTimestamp != "" {
			delete(p.alive, o.Metadata.UID)
		} else if o.Status.Phase == "Running" {
			p.alive[o.Metadata.UID] = o.Metadata.Name
		}
		p.mu.Unlock()
	}
}

// watchedPod is what is read of a pod in an event.
type watchedPod struct {
	Metadata struct {
		Name, UID         string
		DeletionTimestamp string
	}
	Status struct{ Phase, PodIP string }
}

// readEvent reads a line of a watch: a pod and what became of it, or why the watch ends.
func readEvent(line []byte) (p watchedPod, kind string, err error) {
	var event struct {
		Type   string
		Object json.RawMessage
	}
	if err := json.Unmarshal(line, &event); err != nil {
		return p, "", fmt.Errorf("read event: %w", err)
	}
	if event.Type == "ERROR" {
		return p, "", fmt.Errorf("the API server ends the watch: %s", event.Object)
	}
	if err := json.Unmarshal(event.Object, &p); err != nil {
		return p, "", fmt.Errorf("read event: %w", err)
	}
	return p, event.Type, nil
}

// count is how many pods run.
func (p *podWatch) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.alive)
}

// deleteOne deletes any pod.
func (p *podWatch) deleteOne(ctx context.Context) {
	p.mu.Lock()
	name := ""
	for uid, n := range p.alive {
		name = n
		delete(p.alive, uid)
		break
	}
	p.mu.Unlock()
	if name == "" {
		return
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodDelete, p.server+"/api/v1/namespaces/"+scaleNamespace+"/pods/"+name, http.NoBody)
	if err != nil {
		return
	}
	response, err := p.client.Do(request)
	if err != nil {
		return
	}
	defer response.Body.Close()
	if response.StatusCode < 300 {
		p.deleted.Add(1)
	}
}
