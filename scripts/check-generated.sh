#!/usr/bin/env bash
# Rebuilds what is generated into a copy and compares it with the tree: the kernel objects with their Go, the names feed, what goes into JVMs, web/dist, and
# the manifests of the chart.
# The tree itself is not touched. Ends with 1 and says which files differ.
set -euo pipefail
cd "$(dirname "$0")/.."
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT

# The objects are those of one compiler; another writes other bytes for the same programs.
want=14 have=$(clang -dumpversion | cut -d. -f1)
git ls-files -z --cached --others --exclude-standard -- go.mod go.sum bpf transport/names | xargs -0 cp --parents -t "$copy"
find "$copy/bpf" -name '*.o' -delete
(cd "$copy" && go generate ./bpf ./transport/names)
ignore=()
if [ "$have" != "$want" ]; then
	echo "clang $have builds the kernel programs, but clang $want wrote the committed objects: their bytes are not compared" >&2
	ignore=(--exclude '*.o')
fi
status=0
diff -rq "${ignore[@]}" bpf "$copy/bpf" || status=1

# The compiler's own version is in the files; another writes the same otherwise.
diff -rq -I '^//.*protoc ' transport/names "$copy/transport/names" || status=1

# What goes into JVMs is built by the same script everywhere, and its bytes are those of one javac, one gcc and one linker.
mkdir "$copy/java"
agent/java/inside/build.sh "$copy/java"
if javac -version 2>&1 | grep -q '^javac 17\.' && [ "$(x86_64-linux-gnu-gcc -dumpversion) $(aarch64-linux-gnu-gcc -dumpversion)" = "12 12" ]; then
	for library in agent/java/*.so; do
		cmp "$library" "$copy/java/$(basename "$library")" || status=1
	done
else
	echo "what goes into JVMs was written by javac 17 and gcc 12; here are others: its bytes are not compared" >&2
fi

# The page's build also writes the types of the API, in place.
cp web/src/api/schema.ts "$copy/schema.ts"
scripts/web.sh build --outDir "$copy/dist" --emptyOutDir --logLevel warn
diff -rq web/dist "$copy/dist" || status=1
if ! cmp web/src/api/schema.ts "$copy/schema.ts"; then
	cp "$copy/schema.ts" web/src/api/schema.ts # the tree stays as it was
	status=1
fi

# The plain manifests are the chart's, as helm renders it. Building helm takes minutes: only where it was built already.
if [ -x .cache/cluster/bin/helm ]; then
	go run ./test/cluster chart >"$copy/chart.log" || { cat "$copy/chart.log"; status=1; }
else
	echo "deploy/vetch.yaml is not compared with the chart, for there is no helm: make chart-test builds it" >&2
fi

if [ $status != 0 ]; then
	echo "generated files are stale: run make generate and commit the result" >&2
fi
exit $status
