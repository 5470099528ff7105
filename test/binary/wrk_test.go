package binary

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// load runs wrk and returns what it prints.
func load(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("wrk", args...).CombinedOutput()
	require.NoError(t, err, "wrk: %s", out)
	require.NotContains(t, string(out), "Socket errors", "wrk had errors of its own")
	return string(out)
}

// requestsOf is wrk's own total.
func requestsOf(t *testing.T, printed string) int {
	t.Helper()
	found := regexp.MustCompile(`(\d+) requests in`).FindStringSubmatch(printed)
	require.NotNil(t, found, printed)
	n, err := strconv.Atoi(found[1])
	require.NoError(t, err)
	return n
}

// TestFullSpeed lets wrk run for 10 s as fast as it can. wrk leaves its last requests in flight: at most one a connection.
func TestFullSpeed(t *testing.T) {
	const connections = 64
	_, addresses := nginxServer(t, how{}, "127.0.0.1")
	total := requestsOf(t, load(t, "-t2", "-c"+strconv.Itoa(connections), "-d10s", "http://"+addresses[0]+"/"+mine("full-speed")))
	edge := labels{"client": "wrk", "server": "nginx", "port": strconv.Itoa(portOf(t, addresses[0]))}
	for _, v := range built.watchers {
		t.Run(v.hook, func(t *testing.T) {
			var served, edges, called float64
			within := func(n float64) bool { return n >= float64(total) && n <= float64(total+connections) }
			err := poll(t.Context(), func() error {
				s, err := v.read()
				if err != nil {
					return err
				}
				served = s.sum("vetch_workload_requests_total", labels{"workload": "nginx", "route": "/" + mine("full-speed")})
				edges = s.sum("vetch_edge_requests_total", edge)
				called = s.sum("container_http_requests_total", labels{"destination": addresses[0]})
				if !within(served) || !within(edges) || !within(called) {
					return fmt.Errorf("wrk says %d; serving end %v, edge %v, calling end %v", total, served, edges, called)
				}
				return nil
			})
			assert.NoError(t, err)
			t.Logf("wrk says %d; serving end %v, edge %v, calling end %v", total, served, edges, called)
		})
	}
}

// bucketFactor is how much wider each bucket of schema 3 is than the one before.
var bucketFactor = math.Pow(2, 1.0/8)

// TestQuantiles compares wrk's latency distribution with histogram_quantile over the edge's native histogram. The server waits
// 5 to 14 ms, so that what wrk adds in its own event loop is small against a bucket. wrk corrects for what it calls coordinated
// omission where a request takes twice the mean: a machine too busy to run wrk in time moves its 99 % quantile so, and gets two more runs.
func TestQuantiles(t *testing.T) {
	for _, hook := range hooks() {
		t.Run(hook, func(t *testing.T) {
			v := watch(t, settings{role: "run", hook: hook})
			var apart []string
			for i := range 3 {
				if apart = quantiles(t, v, fmt.Sprintf("waits-%s-%d", hook, i)); len(apart) == 0 {
					return
				}
				t.Log(apart)
			}
			t.Error(strings.Join(apart, "\n"))
		})
	}
}

// quantiles lists those of one run that are more than one bucket apart.
func quantiles(t *testing.T, v *vetch, serving string) (apart []string) {
	t.Helper()
	p, address := server(t, how{}, serving, "127.0.0.1:0")
	serving = p.name
	printed := load(t, "-t1", "-c8", "-d8s", "--latency", "http://"+address+"/wait?wait=5-14")
	require.NoError(t, poll(t.Context(), func() error {
		n, err := v.query(fmt.Sprintf(`sum(vetch_edge_requests_total{client="wrk",server=%q})`, serving))
		if err != nil || n < float64(requestsOf(t, printed)) {
			return fmt.Errorf("%v of %d requests, %w", n, requestsOf(t, printed), err)
		}
		return nil
	}))
	for _, line := range regexp.MustCompile(`(?m)^\s+(50|75|90|99)%\s+([0-9.]+)(us|ms|s)\s*$`).FindAllStringSubmatch(printed, -1) {
		percent, _ := strconv.ParseFloat(line[1], 64)
		wrk, err := time.ParseDuration(line[2] + line[3])
		require.NoError(t, err)
		got, err := v.query(fmt.Sprintf(`histogram_quantile(%g, sum(vetch_edge_request_duration_seconds{client="wrk",server=%q}))`, percent/100, serving))
		require.NoError(t, err)
		t.Logf("%v %%: wrk %v, vetch %.3f ms", percent, wrk, got*1000)
		if buckets := math.Log(got/wrk.Seconds()) / math.Log(bucketFactor); math.Abs(buckets) > 1 {
			apart = append(apart, fmt.Sprintf("the %v %% quantile: wrk says %v, vetch %.3f ms: %.1f buckets apart", percent, wrk, got*1000, buckets))
		}
	}
	return apart
}

// query asks the Prometheus API for one number.
func (v *vetch) query(expression string) (float64, error) {
	response, err := http.Get(v.url + "/api/v1/query?query=" + url.QueryEscape(expression))
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return 0, fmt.Errorf("decode answer to %s: %w", expression, err)
	}
	if answer.Status != "success" || len(answer.Data.Result) != 1 {
		return 0, fmt.Errorf("query %s: %s %s, %d results", expression, answer.Status, answer.Error, len(answer.Data.Result))
	}
	return strconv.ParseFloat(strings.TrimSpace(fmt.Sprint(answer.Data.Result[0].Value[1])), 64)
}
