package state

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

func services(o Options) *Kind {
	families := []family[*corev1.Service]{
		info("kube_service_info", "The service: its address or the name outside that it stands for.", func(s *corev1.Service) []string {
			return []string{
				"cluster_ip", s.Spec.ClusterIP, "external_name", s.Spec.ExternalName, "load_balancer_ip", s.Spec.LoadBalancerIP,
				"external_traffic_policy", string(s.Spec.ExternalTrafficPolicy),
			}
		}),
		created[*corev1.Service]("kube_service"),
		deleting[*corev1.Service]("kube_service"),
		info("kube_service_spec_type", "How the service is reached.", func(s *corev1.Service) []string { return []string{"type", string(s.Spec.Type)} }),
		many("kube_service_spec_external_ip", "Addresses outside that lead to the service.", func(s *corev1.Service, e *emitter) {
			for _, ip := range s.Spec.ExternalIPs {
				e.add(1, "external_ip", ip)
			}
		}),
		many("kube_service_status_load_balancer_ingress", "Where a load balancer takes requests for the service.", func(s *corev1.Service, e *emitter) {
			for _, i := range s.Status.LoadBalancer.Ingress {
				e.add(1, "ip", i.IP, "hostname", i.Hostname)
			}
		}),
	}
	families = append(families, chosen[*corev1.Service]("kube_service", "services", o)...)
	return kindOf("services", func(s *corev1.Service) []string {
		return []string{"namespace", s.Namespace, "service", s.Name, "uid", string(s.UID)}
	}, families)
}

func endpointSlices(o Options) *Kind {
	families := []family[*discoveryv1.EndpointSlice]{
		info("kube_endpointslice_info", "The slice: which kind of addresses it has.", func(s *discoveryv1.EndpointSlice) []string {
			return []string{"addresstype", string(s.AddressType)}
		}),
		created[*discoveryv1.EndpointSlice]("kube_endpointslice"),
		many("kube_endpointslice_endpoints", "Addresses behind a service, and whether they serve.", endpoints),
		many("kube_endpointslice_endpoints_hints", "Zones that an endpoint should serve.", func(s *discoveryv1.EndpointSlice, e *emitter) {
			for i := range s.Endpoints {
				if p := &s.Endpoints[i]; p.Hints != nil && len(p.Addresses) > 0 {
					for _, zone := range p.Hints.ForZones {
						e.add(1, "address", p.Addresses[0], "for_zone", zone.Name)
					}
				}
			}
		}),
		many("kube_endpointslice_ports", "Ports of the endpoints.", func(s *discoveryv1.EndpointSlice, e *emitter) {
			for _, p := range s.Ports {
				number := ""
				if p.Port != nil {
					number = strconv.Itoa(int(*p.Port))
				}
				e.add(1, "port_name", text(p.Name), "port_protocol", text(p.Protocol), "port_number", number)
			}
		}),
	}
	families = append(families, chosen[*discoveryv1.EndpointSlice]("kube_endpointslice", "endpointslices", o)...)
	return kindOf("endpointslices", func(s *discoveryv1.EndpointSlice) []string {
		return []string{"namespace", s.Namespace, "endpointslice", s.Name}
	}, families)
}

func endpoints(s *discoveryv1.EndpointSlice, e *emitter) {
	for i := range s.Endpoints {
		p := &s.Endpoints[i]
		pairs := []string{
			"ready", truth(p.Conditions.Ready), "serving", truth(p.Conditions.Serving), "terminating", truth(p.Conditions.Terminating),
			"hostname", text(p.Hostname), "endpoint_nodename", text(p.NodeName), "endpoint_zone", text(p.Zone),
		}
		if r := p.TargetRef; r != nil {
			pairs = append(pairs, "targetref_kind", r.Kind, "targetref_name", r.Name, "targetref_namespace", r.Namespace)
		}
		for _, a := range p.Addresses {
			e.add(1, append(pairs[:len(pairs):len(pairs)], "address", a)...)
		}
	}
}

// ingressClass is where the class was before it had a field.
const ingressClass = "kubernetes.io/ingress.class"

func ingresses(o Options) *Kind {
	families := []family[*networkingv1.Ingress]{
		info("kube_ingress_info", "The ingress: which controller is to serve it.", func(i *networkingv1.Ingress) []string {
			class := "_default"
			if old, ok := i.Annotations[ingressClass]; ok {
				class = old
			} else if i.Spec.IngressClassName != nil {
				class = *i.Spec.IngressClassName
			}
			return []string{"ingressclass", class}
		}),
		created[*networkingv1.Ingress]("kube_ingress"),
		version[*networkingv1.Ingress]("kube_ingress"),
		many("kube_ingress_path", "What a path of a host leads to.", ingressPaths),
		many("kube_ingress_tls", "Certificates of hosts, by their secrets.", func(i *networkingv1.Ingress, e *emitter) {
			for _, t := range i.Spec.TLS {
				for _, host := range t.Hosts {
					e.add(1, "tls_host", host, "secret", t.SecretName)
				}
			}
		}),
	}
	families = append(families, chosen[*networkingv1.Ingress]("kube_ingress", "ingresses", o)...)
	return kindOf("ingresses", func(i *networkingv1.Ingress) []string { return []string{"namespace", i.Namespace, "ingress", i.Name} }, families)
}

func ingressPaths(i *networkingv1.Ingress, e *emitter) {
	for _, rule := range i.Spec.Rules {
		if rule.HTTP == nil {
			continue
		}
		for _, p := range rule.HTTP.Paths {
			pairs := []string{"host", rule.Host, "path", p.Path, "path_type", text(p.PathType)}
			switch b := p.Backend; {
			case b.Service != nil:
				pairs = append(pairs, "service_name", b.Service.Name, "service_port", strconv.Itoa(int(b.Service.Port.Number)))
			case b.Resource != nil:
				pairs = append(pairs, "resource_api_group", text(b.Resource.APIGroup), "resource_kind", b.Resource.Kind, "resource_name", b.Resource.Name)
			}
			e.add(1, pairs...)
		}
	}
}
