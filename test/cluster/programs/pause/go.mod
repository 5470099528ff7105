module github.com/vetch-dev/vetch/test/cluster/programs/pause

go 1.24
