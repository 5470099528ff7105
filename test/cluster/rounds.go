package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// shippedRounds counts the rounds of samples that an agent took, and is a sample of each of them itself: the server must have all its values, however long
// a round took.
const shippedRounds = "vetch_ship_rounds_total"

// rounds is how many rounds of samples the agent of each node has taken.
func (t *trial) rounds(ctx context.Context) (map[string]float64, error) {
	all, err := t.scrape(ctx)
	if err != nil {
		return nil, err
	}
	rounds := map[string]float64{}
	for node, m := range all {
		if rounds[node] = m.sum(shippedRounds); rounds[node] == 0 {
			return nil, fmt.Errorf("the agent of %s ships nothing", node)
		}
	}
	return rounds, nil
}

// whole holds that the server has every round of each agent from the first to the last, and in each of them the series that agents gather first and late.
func (t *trial) whole(ctx context.Context, since time.Time, first, last map[string]float64) error {
	window := int((time.Since(since) + time.Minute).Seconds())
	for _, node := range nodeNames {
		samples, err := t.samples(ctx, fmt.Sprintf(`%s{job="vetch-agent", node=%q}[%ds]`, shippedRounds, node, window))
		if err != nil {
			return err
		}
		taken := map[float64]float64{} // when, by the number of the round
		previous := 0.0
		for _, s := range samples {
			if s.value < previous {
				clear(taken) // they were of another agent, before this one
			}
			taken[s.value], previous = s.at, s.value
		}
		var missing []float64
		for n := first[node]; n <= last[node]; n++ {
			if _, ok := taken[n]; !ok {
				missing = append(missing, n)
			}
		}
		if len(missing) > 0 {
			return fmt.Errorf("%s: of the rounds %v to %v the server lacks %v", node, first[node], last[node], missing)
		}
		for _, name := range []string{"node_resources_cpu_logical_cores", "vetch_names_connected"} {
			samples, err := t.samples(ctx, fmt.Sprintf(`%s{node=%q}[%ds]`, name, node, window))
			if err != nil {
				return err
			}
			has := map[float64]bool{}
			for _, s := range samples {
				has[s.at] = true
			}
			for n := first[node]; n <= last[node]; n++ {
				if !has[taken[n]] {
					return fmt.Errorf("%s: the round %v lacks %s", node, n, name)
				}
			}
		}
	}
	return nil
}

// sample is one of a series; at is in seconds since 1970.
type sample struct{ at, value float64 }

// samples are those of the one series that a range of PromQL means, by time.
func (t *trial) samples(ctx context.Context, expression string) ([]sample, error) {
	series, err := t.query(ctx, expression)
	if err != nil {
		return nil, err
	}
	if len(series) != 1 {
		return nil, fmt.Errorf("%d series %s", len(series), expression)
	}
	var list []sample
	for _, pair := range series[0].Values {
		at, ok := pair[0].(float64)
		text, isText := pair[1].(string)
		v, err := strconv.ParseFloat(text, 64)
		if !ok || !isText || err != nil {
			return nil, fmt.Errorf("no sample of %s: %v", expression, pair)
		}
		list = append(list, sample{at, v})
	}
	return list, nil
}

// gaveUpNothing holds that no agent lost what it had to send.
func (t *trial) gaveUpNothing(ctx context.Context) error {
	all, err := t.scrape(ctx)
	if err != nil {
		return err
	}
	var wrong []error
	for node, m := range all {
		for _, name := range []string{"vetch_ship_failed_total", "vetch_ship_dropped_total"} {
			if n := m.sum(name); n != 0 {
				wrong = append(wrong, fmt.Errorf("%s: %s is %v", node, name, n))
			}
		}
	}
	return errors.Join(wrong...)
}
