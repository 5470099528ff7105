package main

import (
	"fmt"
	"os"
	"strings"
)

// family is one version of IP and its networks in a cluster. They lie in network namespaces of its own, so that clusters may have the same.
type family struct {
	name       string
	services   string // network of the services
	pods       string // network of all pods
	api        string // address of the control plane
	nodes      string // address of a node, by its number
	nodePods   string // network of the pods of a node, by its number
	length     int    // of the prefix of the network that nodes and control plane are in
	everywhere string
	forwarding string // file that lets a network namespace forward
}

var (
	ipv4 = family{
		name: "IPv4", services: serviceCIDR, pods: "10.244.0.0/16", api: apiAddress, nodes: "10.99.0.%d", nodePods: "10.244.%d.0/24", length: 24,
		everywhere: "0.0.0.0/0", forwarding: "/proc/sys/net/ipv4/ip_forward",
	}
	ipv6 = family{
		name: "IPv6", services: "fd10:96::/112", pods: "fd10:244::/48", api: "fd10:99::1", nodes: "fd10:99::%d", nodePods: "fd10:244:0:%d::/64", length: 64,
		everywhere: "::/0", forwarding: "/proc/sys/net/ipv6/conf/all/forwarding",
	}
)

// families are what a cluster on this machine has: services and pods of both, but for a kernel without IPv6.
func families() []family {
	if !hasIPv6() {
		return []family{ipv4}
	}
	return []family{ipv4, ipv6}
}

func hasIPv6() bool {
	_, err := os.Stat("/proc/net/if_inet6")
	return err == nil
}

func (f family) node(name string) string   { return fmt.Sprintf(f.nodes, 10+nodeNumber(name)) }
func (f family) podsOf(node string) string { return fmt.Sprintf(f.nodePods, nodeNumber(node)) }

// inAll joins what each family has, as the flags of Kubernetes want it.
func inAll(of func(family) string) string {
	var list []string
	for _, f := range families() {
		list = append(list, of(f))
	}
	return strings.Join(list, ",")
}
