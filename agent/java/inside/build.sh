#!/usr/bin/env bash
# Builds what goes into a JVM: the classes, and for each architecture the library that carries them, into DIR as inside_ARCH.so.
# The bytes are the same wherever javac 17 and gcc 12 build them.
set -euo pipefail
dir=$(realpath "${1:?usage: build.sh DIR}")
cd "$(dirname "$0")"
jdk=$(dirname "$(dirname "$(realpath "$(command -v javac)")")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
javac --release 8 -Xlint:all,-options -Werror -g:none -d "$work" ./*.java
cp library.c "$work/dev/vetch/"
: >"$work/stdio.h" # jni.h asks for it and needs nothing of it
cd "$work/dev/vetch"
for arch in amd64:x86_64-linux-gnu arm64:aarch64-linux-gnu; do
	flags=(-fcf-protection=none)
	[ "${arch#*:}" = x86_64-linux-gnu ] || flags=(-mbranch-protection=none)
	"${arch#*:}-gcc" -std=gnu11 -O2 -Wall -Wextra -Werror "${flags[@]}" -fPIC -fvisibility=hidden -ffreestanding -fno-stack-protector \
		-fno-asynchronous-unwind-tables -I"$work" -I"$jdk/include" -I"$jdk/include/linux" -nostdlib -shared -s -Wl,--build-id=none -Wl,--hash-style=both \
		-Wl,-z,noexecstack -Wl,-z,now -Wl,-z,defs -o "$dir/inside_${arch%%:*}.so" library.c
done
