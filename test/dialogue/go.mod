module github.com/vetch-dev/vetch/test/dialogue

go 1.26.8
