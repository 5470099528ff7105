package api

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/vetch-dev/vetch/servicemap"
	"github.com/vetch-dev/vetch/servicemap/inventory"
)

// inventoryPaths are what InventoryHandler serves.
func inventoryPaths() []string {
	return []string{"/api/namespaces", "/api/namespace", "/api/nodes", "/api/node", "/api/pods", "/api/pod"}
}

// InventoryHandler serves /api/namespaces, /api/nodes, /api/pods and those of one each, as described in openapi.yaml.
func InventoryHandler(inv *inventory.Inventory) http.Handler {
	mux := http.NewServeMux()
	serve := func(path string, ask func(r *http.Request, q servicemap.Query, v url.Values) (encoder, error)) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			mapHandlers{}.answer(w, r, func(q servicemap.Query, v url.Values) (encoder, error) { return ask(r, q, v) })
		})
	}
	serve("/api/namespaces", func(r *http.Request, q servicemap.Query, _ url.Values) (encoder, error) {
		return inv.Namespaces(r.Context(), q)
	})
	serve("/api/namespace", func(r *http.Request, q servicemap.Query, v url.Values) (encoder, error) {
		return inv.Namespace(r.Context(), v.Get("id"), q)
	})
	serve("/api/nodes", func(r *http.Request, q servicemap.Query, _ url.Values) (encoder, error) {
		return inv.Nodes(r.Context(), q)
	})
	serve("/api/node", func(r *http.Request, q servicemap.Query, v url.Values) (encoder, error) {
		return inv.Node(r.Context(), v.Get("id"), q)
	})
	serve("/api/pods", func(r *http.Request, q servicemap.Query, v url.Values) (encoder, error) {
		f, err := podFilter(q, v)
		if err != nil {
			return nil, err
		}
		return inv.Pods(r.Context(), q, f)
	})
	serve("/api/pod", func(r *http.Request, q servicemap.Query, v url.Values) (encoder, error) {
		return inv.Pod(r.Context(), v.Get("id"), q)
	})
	return mux
}

func podFilter(q servicemap.Query, v url.Values) (inventory.PodFilter, error) {
	f := inventory.PodFilter{Cluster: v.Get("cluster"), Namespace: q.Namespace, Node: v.Get("node"), Workload: v.Get("workload")}
	if len(f.Cluster) > maxNamespaceText {
		return f, badParameter("cluster", fmt.Sprintf("longer than %d bytes", maxNamespaceText))
	}
	if text := v.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > inventory.MaxPods {
			return f, badParameter("limit", fmt.Sprintf("%.20q is not a number from 1 to %d", text, inventory.MaxPods))
		}
		f.Limit = n
	}
	return f, nil
}
