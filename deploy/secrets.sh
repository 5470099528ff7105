#!/bin/sh
# Prints the Secrets that deploy/vetch.yaml wants, for: sh deploy/secrets.sh NAMESPACE | kubectl apply -f -
# An authority, a certificate for the server and one for the watcher, and tokens; all made by openssl, anew at each call. helm does this by itself.
set -eu
namespace=${1:-vetch}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
umask 077

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj /CN=vetch -keyout ca.key -out ca.crt 2>/dev/null
base64_of() { base64 <"$1" | tr -d '\n'; }
for part in server watcher; do
	name=vetch-$part
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$name" -keyout tls.key -out tls.csr 2>/dev/null
	printf 'subjectAltName=DNS:%s,DNS:%s,DNS:%s,DNS:%s,DNS:localhost,IP:127.0.0.1\n' \
		"$name" "$name.$namespace" "$name.$namespace.svc" "$name.$namespace.svc.cluster.local" >names
	openssl x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -extfile names -out tls.crt 2>/dev/null
	cat <<-EOF
	---
	apiVersion: v1
	kind: Secret
	metadata: {name: $name-tls, namespace: $namespace}
	type: kubernetes.io/tls
	data: {ca.crt: $(base64_of ca.crt), tls.crt: $(base64_of tls.crt), tls.key: $(base64_of tls.key)}
	EOF
done

write=$(openssl rand -hex 20) names=$(openssl rand -hex 20) scrape=$(openssl rand -hex 20) page=$(openssl rand -hex 20)
cat <<EOF
---
apiVersion: v1
kind: Secret
metadata: {name: vetch-tokens, namespace: $namespace}
stringData:
  write: $write
  names: $names
  scrape: $scrape
  page: $page
  server: |
    write $write
    all $page
  metrics: |
    all $scrape
EOF
