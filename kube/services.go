package kube

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vetch-dev/vetch/transport/names"
)

const maxPlaces = 256 // endpoints of a service that are no pods

// node is what is kept of a node.
type node struct {
	uid       types.UID
	name      string
	addresses []netip.Addr
	ranges    []string
	from      time.Time
}

func keepNode(_ string, o runtime.Object) any {
	from, ok := o.(*corev1.Node)
	if !ok {
		return nil
	}
	n := &node{uid: from.UID, name: intern(from.Name), ranges: slices.Clone(from.Spec.PodCIDRs), from: from.CreationTimestamp.Time}
	for _, a := range from.Status.Addresses {
		if a.Type != corev1.NodeInternalIP && a.Type != corev1.NodeExternalIP {
			continue
		}
		if ip, err := netip.ParseAddr(a.Address); err == nil {
			n.addresses = append(n.addresses, ip.Unmap())
		}
	}
	return n
}

func (c *cluster) putNode(uid types.UID, body any) {
	if n, ok := body.(*node); ok {
		c.nodes[uid] = n
		c.publishNode(n)
	}
}

func (c *cluster) dropNode(uid types.UID) {
	delete(c.nodes, uid)
	c.feed.Delete("node/" + string(uid))
}

func (c *cluster) publishNode(n *node) {
	if !c.ready {
		return
	}
	out := &names.Name{
		Role: names.Role_ROLE_NODE, Workload: &names.Workload{Kind: "Node", Name: n.name}, Node: n.name, From: millis(n.from), Ranges: n.ranges,
	}
	for _, a := range n.addresses {
		out.Addresses = append(out.Addresses, a.AsSlice())
	}
	c.feed.Set("node/"+string(n.uid), out)
}

// service is what is kept of a service.
type service struct {
	namespace, name string
	addresses       []netip.Addr
	ports           []servicePort
	external        string
	from            time.Time
}

type servicePort struct {
	name             string
	protocol         uint32
	number, nodePort uint32
}

func keepService(_ string, o runtime.Object) any {
	from, ok := o.(*corev1.Service)
	if !ok {
		return nil
	}
	s := &service{namespace: intern(from.Namespace), name: from.Name, from: from.CreationTimestamp.Time}
	if from.Spec.Type == corev1.ServiceTypeExternalName {
		s.external = from.Spec.ExternalName
	}
	texts := append(slices.Clone(from.Spec.ClusterIPs), from.Spec.ExternalIPs...)
	if len(from.Spec.ClusterIPs) == 0 {
		texts = append(texts, from.Spec.ClusterIP)
	}
	for _, ingress := range from.Status.LoadBalancer.Ingress {
		texts = append(texts, ingress.IP)
	}
	for _, text := range texts {
		if a, err := netip.ParseAddr(text); err == nil && !slices.Contains(s.addresses, a.Unmap()) { // "None" is none
			s.addresses = append(s.addresses, a.Unmap())
		}
	}
	for _, p := range from.Spec.Ports {
		s.ports = append(s.ports, servicePort{intern(p.Name), protocolNumber(p.Protocol), uint32(p.Port), uint32(p.NodePort)})
	}
	return s
}

func (c *cluster) putService(uid types.UID, body any) {
	if s, ok := body.(*service); ok {
		key := s.namespace + "/" + s.name
		c.services[key] = s
		c.serviceUID[uid] = key
		c.publishService(key)
	}
}

func (c *cluster) dropService(uid types.UID) {
	key, ok := c.serviceUID[uid]
	if !ok {
		return
	}
	delete(c.serviceUID, uid)
	for _, other := range c.serviceUID {
		if other == key { // made again under the same name, before this was heard
			return
		}
	}
	delete(c.services, key)
	c.feed.Delete("service/" + key)
}

// slice is what is kept of an EndpointSlice.
type slice struct {
	service string // "namespace/name"
	ports   []slicePort
	pods    []types.UID
	others  []netip.Addr // endpoints that are no pods
}

type slicePort struct {
	name   string
	number uint32
}

func keepSlice(_ string, o runtime.Object) any {
	from, ok := o.(*discoveryv1.EndpointSlice)
	if !ok {
		return nil
	}
	s := &slice{service: intern(from.Namespace + "/" + from.Labels[discoveryv1.LabelServiceName])}
	for _, p := range from.Ports {
		out := slicePort{}
		if p.Name != nil {
			out.name = intern(*p.Name)
		}
		if p.Port != nil {
			out.number = uint32(*p.Port)
		}
		s.ports = append(s.ports, out)
	}
	for i := range from.Endpoints {
		e := &from.Endpoints[i]
		if e.TargetRef != nil && e.TargetRef.Kind == "Pod" {
			s.pods = append(s.pods, e.TargetRef.UID)
			continue
		}
		for _, text := range e.Addresses {
			if a, err := netip.ParseAddr(text); err == nil {
				s.others = append(s.others, a.Unmap())
			}
		}
	}
	return s
}

func (c *cluster) putSlice(uid types.UID, body any) {
	s, ok := body.(*slice)
	if !ok {
		return
	}
	if c.inSlice[uid] != s.service {
		c.dropSlice(uid)
	} else if old := c.slices[s.service][uid]; old != nil {
		c.unback(old)
	}
	c.inSlice[uid] = s.service
	if c.slices[s.service] == nil {
		c.slices[s.service] = make(map[types.UID]*slice)
	}
	c.slices[s.service][uid] = s
	for _, p := range s.pods {
		if c.backs[p] == nil {
			c.backs[p] = make(map[string]int)
		}
		c.backs[p][s.service]++
	}
	c.publishService(s.service)
}

func (c *cluster) dropSlice(uid types.UID) {
	key, ok := c.inSlice[uid]
	if !ok {
		return
	}
	if s := c.slices[key][uid]; s != nil {
		c.unback(s)
	}
	delete(c.inSlice, uid)
	delete(c.slices[key], uid)
	if len(c.slices[key]) == 0 {
		delete(c.slices, key)
	}
	c.publishService(key)
}

// unback takes the pods of a slice off their service.
func (c *cluster) unback(s *slice) {
	for _, p := range s.pods {
		if c.backs[p][s.service]--; c.backs[p][s.service] <= 0 {
			delete(c.backs[p], s.service)
		}
		if len(c.backs[p]) == 0 {
			delete(c.backs, p)
		}
	}
}

// publishService tells the feed of a service that has an address, a name outside, or endpoints that are no pods.
func (c *cluster) publishService(key string) {
	s := c.services[key]
	if !c.ready || s == nil {
		return
	}
	n := &names.Name{
		Role: names.Role_ROLE_SERVICE, Workload: &names.Workload{Namespace: s.namespace, Kind: "Service", Name: s.name}, From: millis(s.from),
		ExternalName: s.external, Backend: c.backend(key), Places: c.places(key),
	}
	for _, a := range s.addresses {
		n.Addresses = append(n.Addresses, a.AsSlice())
	}
	if len(n.Addresses) == 0 && n.ExternalName == "" && len(n.Places) == 0 {
		c.feed.Delete("service/" + key)
		return
	}
	for _, p := range s.ports {
		n.Ports = append(n.Ports, &names.Port{Protocol: p.protocol, Number: p.number, NodePort: p.nodePort, Target: c.target(key, p.name)})
	}
	c.feed.Set("service/"+key, n)
}

// backend is the one workload that all pods behind a service belong to; nil where there is none, or more than one.
func (c *cluster) backend(key string) *names.Workload {
	var only *names.Workload
	for _, s := range c.slices[key] {
		for _, uid := range s.pods {
			p := c.pods[uid]
			if p == nil {
				return nil
			}
			w, _ := c.nameOf(p)
			if only != nil && (only.Namespace != w.Namespace || only.Kind != w.Kind || only.Name != w.Name) {
				return nil
			}
			only = w
		}
		if len(s.others) > 0 {
			return nil
		}
	}
	return only
}

// target is the port of the pods behind a service's port, where it is the same everywhere; else 0.
func (c *cluster) target(key, name string) (target uint32) {
	for _, s := range c.slices[key] {
		for _, p := range s.ports {
			if p.name != name || len(s.pods)+len(s.others) == 0 {
				continue
			}
			if target != 0 && target != p.number {
				return 0
			}
			target = p.number
		}
	}
	return target
}

// places are the endpoints of a service that are no pods.
func (c *cluster) places(key string) []*names.Place {
	var out []*names.Place
	for _, s := range c.slices[key] {
		for _, a := range s.others {
			for _, p := range s.ports {
				if len(out) < maxPlaces && p.number != 0 {
					out = append(out, &names.Place{Address: a.AsSlice(), Port: p.number})
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b *names.Place) int {
		return slices.Compare(append(slices.Clone(a.Address), strconv.Itoa(int(a.Port))...), append(slices.Clone(b.Address), strconv.Itoa(int(b.Port))...))
	})
	return out
}
