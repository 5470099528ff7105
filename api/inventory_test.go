package api

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/servicemap/inventory"
)

const inventorySamples = `load 15s
	kube_pod_info{namespace="shop",pod="cart-1",uid="u1",node="n1",pod_ip="10.0.0.1"} 1x60
	kube_pod_status_phase{namespace="shop",pod="cart-1",uid="u1",phase="Running"} 1x60
	kube_pod_created{namespace="shop",pod="cart-1",uid="u1"} 100x60
	kube_pod_container_status_ready{namespace="shop",pod="cart-1",uid="u1",container="app"} 1x60
	kube_pod_container_status_last_terminated_exitcode{namespace="shop",pod="cart-1",uid="u1",container="app"} 1x60
	kube_pod_container_resource_requests{namespace="shop",pod="cart-1",uid="u1",container="app",node="n1",resource="cpu",unit="core"} 1x60
	vetch_pod_cpu_seconds_total{node="n1",namespace="shop",pod="cart-1",kind="Deployment",workload="cart",mode="user"} 0+3x60
	kube_node_info{node="n1",kubelet_version="v1.36.0"} 1x60
	kube_node_status_condition{node="n1",condition="Ready",status="true"} 1x60
	node_resources_cpu_logical_cores{node="n1"} 2x60`

func TestInventoryAnswersAreAsDescribed(t *testing.T) {
	inv, err := inventory.New(mapService(t, inventorySamples, 1_000_000))
	require.NoError(t, err)
	router, h := specRouter(t), InventoryHandler(inv)
	for path, code := range map[string]int{
		"/api/namespaces": http.StatusOK, "/api/namespace?id=shop": http.StatusOK, "/api/namespace?id=none": http.StatusNotFound, "/api/namespace": http.StatusBadRequest,
		"/api/nodes?start=-5m": http.StatusOK, "/api/node?id=n1": http.StatusOK, "/api/node?id=n9": http.StatusNotFound, "/api/node?id=%3A": http.StatusBadRequest,
		"/api/pods": http.StatusOK, "/api/pods?namespace=shop&workload=shop/Deployment/cart&node=n1&limit=1": http.StatusOK,
		"/api/pods?limit=0": http.StatusBadRequest, "/api/pods?limit=many": http.StatusBadRequest, "/api/pods?start=later": http.StatusBadRequest,
		"/api/pods?workload=x":    http.StatusBadRequest,
		"/api/pod?id=shop/cart-1": http.StatusOK, "/api/pod?id=shop/cart-2": http.StatusNotFound, "/api/pod?id=cart-1": http.StatusBadRequest,
	} {
		require.Equal(t, code, get(t, router, h, path).Code, path)
	}
	var l struct {
		Total int
		Known bool
		Pods  []struct{ ID, Node, Workload string }
	}
	require.NoError(t, json.Unmarshal(get(t, router, h, "/api/pods?namespace=shop").Body.Bytes(), &l))
	require.True(t, l.Known)
	require.Equal(t, 1, l.Total)
	require.Equal(t, "shop/cart-1", l.Pods[0].ID)
}
