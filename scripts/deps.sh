#!/usr/bin/env bash
# Installs what the named groups need: build, generate, test, kernel, cluster. Debian and Ubuntu by apt; elsewhere it prints the list
# and ends with 1. When all is there it only asks dpkg, so it may run before every make.
set -euo pipefail

# A group's programs, each "package" or "package:command" where having the command is enough.
packages() {
	case $1 in
	build) ;;
	generate) echo clang:clang llvm:llvm-strip libbpf-dev protobuf-compiler:protoc openjdk-17-jdk-headless:javac gcc:x86_64-linux-gnu-gcc \
		gcc-aarch64-linux-gnu:aarch64-linux-gnu-gcc ;;
	test) echo nginx-light:nginx wrk:wrk chromium:chromium curl:curl wget:wget gnutls-bin:gnutls-serv python3:python3 iproute2:ip nftables:nft \
		iptables:iptables conntrack:conntrack procps:ps dbus-daemon:dbus-daemon \
		postgresql:/usr/bin/pgbench mariadb-server:mariadbd redis-server:redis-server memcached:memcached nats-server:nats-server \
		nghttp2-client:h2load unbound:unbound bind9-dnsutils:dig mosquitto:mosquitto mosquitto-clients:mosquitto_pub rabbitmq-server:rabbitmq-server \
		zookeeper:/usr/share/zookeeper/bin/zkServer.sh clickhouse-server:clickhouse-server clickhouse-client:clickhouse-client \
		gcc:gcc binutils:strip libc6-dev libssl-dev android-libboringssl-dev \
		cargo:/usr/bin/cargo rustc:/usr/bin/rustc librust-rustls-dev librust-tokio-dev librust-tokio-rustls-dev openjdk-17-jdk-headless:javac ;;
	cluster) echo containerd:containerd runc:runc containernetworking-plugins nftables:nft iptables:iptables conntrack:conntrack \
		nginx-light:nginx redis-server:redis-server postgresql:/usr/bin/pgbench chromium:chromium ;;
	kernel) echo qemu-system-x86:qemu-system-x86_64 debian-archive-keyring ;;
	esac
}

installed() { # PACKAGE[:COMMAND]
	local package=${1%%:*} command=
	[[ $1 == *:* ]] && command=${1#*:}
	if [ -n "$command" ] && PATH=$PATH:/usr/sbin:/sbin command -v "$command" >/dev/null; then return 0; fi
	command -v dpkg-query >/dev/null && [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ]
}

# The page is built by Node 20.19 or newer; web/dist is committed, so only generate and test need it.
node_is_enough() {
	command -v node >/dev/null && command -v npm >/dev/null &&
		node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || a === 20 && b >= 19 ? 0 : 1)'
}

go_is_enough() {
	local want have
	want=$(sed -n 's/^go //p' go.mod)
	have=$(go env GOVERSION 2>/dev/null | sed 's/^go//') || return 1
	[ -n "$have" ] && [ "$(printf '%s\n%s\n' "$want" "$have" | sort -V | head -1)" = "$want" ]
}

cd "$(dirname "$0")/.."
PATH=$PWD/.cache/node/bin:$PATH # see the end
missing=() needs_node= wants_node16= wants_rust=
for group in "$@"; do
	case $group in
	generate | test | cluster) needs_node=yes ;;
	build | kernel) ;;
	*) echo "deps.sh: no such group: $group" >&2; exit 2 ;;
	esac
	if [ "$group" = test ] && [ ! -x .cache/node16/bin/node ]; then wants_node16=yes; fi
	if [ "$group" = test ] && [ ! -d .cache/rust ] && [ "$(uname -m)" = x86_64 ]; then wants_rust=yes; fi # vetch knows rustls on amd64 only
	for entry in $(packages "$group"); do
		installed "$entry" || missing+=("${entry%%:*}")
	done
done

if ! go_is_enough; then
	echo "vetch needs Go $(sed -n 's/^go //p' go.mod) or newer in PATH: https://go.dev/dl" >&2
	exit 1
fi
wants_node=
if [ -n "$needs_node" ] && ! node_is_enough; then wants_node=yes; fi
install_rust() {
	scripts/rust || echo "cannot get the crates of Debian 13: the tests go without rustls 0.21 and 0.23" >&2
}

# Node.js 16 is there for its OpenSSL 1.1.1, which Debian has no more.
install_node16() {
	local arch
	case $(uname -m) in x86_64) arch=x64 ;; aarch64) arch=arm64 ;; *) return 0 ;; esac
	echo "installing: node 16 from npm into .cache/node16"
	npm install --silent --no-audit --no-fund --prefix .cache/node16 "node-linux-$arch@16" >/dev/null
	ln -sfn "node_modules/node-linux-$arch/bin" .cache/node16/bin
}

if [ ${#missing[@]} -eq 0 ] && [ -z "$wants_node" ]; then
	[ -z "$wants_node16" ] || install_node16
	[ -z "$wants_rust" ] || install_rust
	exit 0
fi

if ! command -v apt-get >/dev/null; then
	echo "Install these with your package manager (names as in Debian), then run make again:" >&2
	echo "  ${missing[*]} ${wants_node:+nodejs (20.19 or newer) npm}" >&2
	exit 1
fi
as_root=()
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || { echo "as root: apt-get install ${missing[*]} ${wants_node:+nodejs npm}" >&2; exit 1; }
	as_root=(sudo)
fi

# Installing a server must not start it: a test machine shall not have a port 80 that nobody asked for. RUNLEVEL=1 makes
# invoke-rc.d refuse to start anything; on a machine with systemd the unit is masked for the duration as well.
install() {
	echo "installing: $*"
	local mask=
	if [ -d /run/systemd/system ] && [[ " $* " == *" nginx-light "* ]]; then
		mask=yes
		"${as_root[@]}" systemctl mask --runtime nginx.service >/dev/null 2>&1 || mask=
	fi
	local status=0
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
		apt-get -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 install "$@" >/dev/null || status=$?
	if [ -n "$mask" ]; then
		"${as_root[@]}" systemctl unmask --runtime nginx.service >/dev/null 2>&1 || true
		"${as_root[@]}" systemctl disable nginx.service >/dev/null 2>&1 || true # nor after the next boot
	fi
	return $status
}
"${as_root[@]}" apt-get -qq update
[ ${#missing[@]} -eq 0 ] || install "${missing[@]}"
if [ -n "$wants_node" ]; then
	candidate=$(apt-cache policy nodejs | sed -n 's/ *Candidate: //p')
	command -v npm >/dev/null && command -v node >/dev/null || install nodejs
	command -v npm >/dev/null || install npm # in the same package at nodesource, in its own at Debian
	hash -r
	# Debian 12 has Node 18. The npm registry has the program itself as a package; the Makefile puts it first in PATH.
	node_is_enough || {
		case $(uname -m) in x86_64) arch=x64 ;; aarch64) arch=arm64 ;; *) arch= ;; esac
		[ -z "$arch" ] || {
			echo "installing: node 22 from npm into .cache/node"
			npm install --silent --no-audit --no-fund --prefix .cache/node "node-linux-$arch@22" >/dev/null &&
				ln -sfn "node_modules/node-linux-$arch/bin" .cache/node/bin
		}
	}
	hash -r
	node_is_enough || {
		echo "The page needs Node 20.19 or newer with npm; this release offers ${candidate:-none}. Get it from https://nodejs.org" >&2
		exit 1
	}
fi
[ -z "$wants_node16" ] || install_node16
[ -z "$wants_rust" ] || install_rust
