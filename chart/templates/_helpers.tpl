{{- define "vetch.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}{{- .Release.Name | trunc 40 | trimSuffix "-" -}}{{- else -}}{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}{{- end -}}
{{- end -}}
{{- end -}}

{{/* Labels that select pods. Called with (dict "root" $ "part" "agent"). */}}
{{- define "vetch.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{- define "vetch.labels" -}}
{{ include "vetch.selector" . }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* name, namespace and labels of an object of a part. */}}
{{- define "vetch.metadata" -}}
name: {{ include "vetch.fullname" .root }}-{{ .part }}
namespace: {{ .root.Release.Namespace }}
labels: {{- include "vetch.labels" . | nindent 2 }}
{{- end -}}

{{- define "vetch.image" -}}
{{- $i := .Values.image -}}
{{- if $i.digest -}}{{ $i.repository }}@{{ $i.digest }}{{- else -}}{{ $i.repository }}:{{ default .Chart.AppVersion $i.tag }}{{- end -}}
{{- end -}}

{{/* The Secret with the certificate of a part. */}}
{{- define "vetch.certificate" -}}
{{- if eq .root.Values.tls.mode "secrets" -}}
{{- required (printf "tls.secrets.%s must name a Secret when tls.mode is secrets" .part) (index .root.Values.tls.secrets .part) -}}
{{- else -}}
{{ include "vetch.fullname" .root }}-{{ .part }}-tls
{{- end -}}
{{- end -}}

{{- define "vetch.tokens" -}}
{{- default (printf "%s-tokens" (include "vetch.fullname" .)) .Values.tokens.secret -}}
{{- end -}}

{{/* The name of a part's Service, in the cluster's DNS. */}}
{{- define "vetch.host" -}}
{{ include "vetch.fullname" .root }}-{{ .part }}.{{ .root.Release.Namespace }}.svc
{{- end -}}

{{/* Parts that have a certificate: name, and names in it. */}}
{{- define "vetch.certified" -}}
{{- if .Values.server.enabled }}server {{ end -}}
{{- if .Values.watcher.enabled }}watcher {{ end -}}
{{- if and .Values.agent.enabled .Values.agent.podMonitor.enabled }}agent {{ end -}}
{{- end -}}

{{/* All DNS names in the certificate of a part, separated by spaces. */}}
{{- define "vetch.names" -}}
{{- $host := include "vetch.host" . -}}
{{ include "vetch.fullname" .root }}-{{ .part }} {{ include "vetch.fullname" .root }}-{{ .part }}.{{ .root.Release.Namespace }} {{ $host }} {{ $host }}.cluster.local localhost
{{- if eq .part "server" }} {{ join " " (concat .root.Values.tls.extraNames .root.Values.server.ingress.hosts) }}{{ end -}}
{{- end -}}

{{/* TLS of a listener of HTTP, in the format of Prometheus's exporter-toolkit. */}}
{{- define "vetch.web" -}}
tls_server_config:
  cert_file: /etc/vetch/tls/tls.crt
  key_file: /etc/vetch/tls/tls.key
{{- end -}}

{{/* What all pods that are no agent have. */}}
{{- define "vetch.unprivileged" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* Ready and alive by HTTPS. */}}
{{- define "vetch.probes" -}}
startupProbe: {httpGet: {path: /-/healthy, port: http, scheme: HTTPS}, periodSeconds: 2, failureThreshold: 60}
readinessProbe: {httpGet: {path: /-/ready, port: http, scheme: HTTPS}, periodSeconds: 5}
livenessProbe: {httpGet: {path: /-/healthy, port: http, scheme: HTTPS}, periodSeconds: 10, failureThreshold: 6}
{{- end -}}
