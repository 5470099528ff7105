package state

import (
	"fmt"
	"time"

	"github.com/robfig/cron/v3"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func jobs(o Options) *Kind {
	const prefix = "kube_job"
	condition := func(name, help string, kind batchv1.JobConditionType) family[*batchv1.Job] {
		return many(name, help, func(j *batchv1.Job, e *emitter) {
			if c := jobCondition(j, kind); c != nil {
				e.condition("condition", c.Status)
			}
		})
	}
	families := []family[*batchv1.Job]{
		number(prefix+"_info", "The job.", func(*batchv1.Job) float64 { return 1 }),
		created[*batchv1.Job](prefix),
		owners[*batchv1.Job](prefix, true),
		whole(prefix+"_spec_parallelism", "Pods that may run at once.", func(j *batchv1.Job) *int32 { return j.Spec.Parallelism }),
		whole(prefix+"_spec_completions", "Pods that must end well.", func(j *batchv1.Job) *int32 { return j.Spec.Completions }),
		whole(prefix+"_spec_active_deadline_seconds", "How long the job may take.", func(j *batchv1.Job) *int64 { return j.Spec.ActiveDeadlineSeconds }),
		number(prefix+"_status_active", "Pods that are not at their end.", func(j *batchv1.Job) float64 { return float64(j.Status.Active) }),
		number(prefix+"_status_ready", "Pods that are ready.", func(j *batchv1.Job) float64 {
			if j.Status.Ready == nil {
				return 0
			}
			return float64(*j.Status.Ready)
		}),
		number(prefix+"_status_succeeded", "Pods that ended well.", func(j *batchv1.Job) float64 { return float64(j.Status.Succeeded) }),
		many(prefix+"_status_failed", "Pods that failed; where the job has failed for a known reason, 1 for that.", jobFailures),
		condition(prefix+"_complete", "Whether the job ended well.", batchv1.JobComplete),
		condition(prefix+"_failed", "Whether the job failed.", batchv1.JobFailed),
		many(prefix+"_status_suspended", "Whether the job waits to be resumed.", func(j *batchv1.Job, e *emitter) {
			if c := jobCondition(j, batchv1.JobSuspended); c != nil {
				e.add(yes(c.Status == "True"))
			}
		}),
		moment(prefix+"_status_start_time", "When the job began, in seconds since 1970.", func(j *batchv1.Job) *metav1.Time { return j.Status.StartTime }),
		moment(prefix+"_status_completion_time", "When the job ended well, in seconds since 1970.", func(j *batchv1.Job) *metav1.Time { return j.Status.CompletionTime }),
	}
	families = append(families, chosen[*batchv1.Job](prefix, "jobs", o)...)
	return kindOf("jobs", workload[*batchv1.Job]("job_name"), families)
}

func jobCondition(j *batchv1.Job, kind batchv1.JobConditionType) *batchv1.JobCondition {
	for i := range j.Status.Conditions {
		if j.Status.Conditions[i].Type == kind {
			return &j.Status.Conditions[i]
		}
	}
	return nil
}

func jobFailures(j *batchv1.Job, e *emitter) {
	if j.Status.Failed == 0 {
		e.add(0)
		return
	}
	known := false
	if c := jobCondition(j, batchv1.JobFailed); c != nil {
		for _, reason := range []string{"BackoffLimitExceeded", "DeadlineExceeded", "Evicted"} {
			known = known || c.Reason == reason
			e.add(yes(c.Reason == reason), "reason", reason)
		}
	}
	if !known {
		e.add(float64(j.Status.Failed))
	}
}

func cronJobs(o Options) *Kind {
	const prefix = "kube_cronjob"
	families := []family[*batchv1.CronJob]{
		info(prefix+"_info", "The cron job: when it runs, and what happens when it still does by then.", func(j *batchv1.CronJob) []string {
			zone := "local"
			if j.Spec.TimeZone != nil {
				zone = *j.Spec.TimeZone
			}
			return []string{"schedule", j.Spec.Schedule, "concurrency_policy", string(j.Spec.ConcurrencyPolicy), "timezone", zone}
		}),
		created[*batchv1.CronJob](prefix),
		version[*batchv1.CronJob](prefix),
		many(prefix+"_spec_suspend", "Whether no jobs are started.", func(j *batchv1.CronJob, e *emitter) {
			if j.Spec.Suspend != nil {
				e.add(yes(*j.Spec.Suspend))
			}
		}),
		whole(prefix+"_spec_starting_deadline_seconds", "How late a job may be started.", func(j *batchv1.CronJob) *int64 { return j.Spec.StartingDeadlineSeconds }),
		whole(prefix+"_spec_successful_job_history_limit", "Jobs that ended well and are kept.", func(j *batchv1.CronJob) *int32 { return j.Spec.SuccessfulJobsHistoryLimit }),
		whole(prefix+"_spec_failed_job_history_limit", "Jobs that failed and are kept.", func(j *batchv1.CronJob) *int32 { return j.Spec.FailedJobsHistoryLimit }),
		number(prefix+"_status_active", "Jobs that run.", func(j *batchv1.CronJob) float64 { return float64(len(j.Status.Active)) }),
		moment(prefix+"_status_last_schedule_time", "When a job was started last, in seconds since 1970.", func(j *batchv1.CronJob) *metav1.Time { return j.Status.LastScheduleTime }),
		moment(prefix+"_status_last_successful_time", "When a job ended well last, in seconds since 1970.", func(j *batchv1.CronJob) *metav1.Time { return j.Status.LastSuccessfulTime }),
		moment(prefix+"_next_schedule_time", "When the next job is due, in seconds since 1970.", nextRun),
	}
	families = append(families, chosen[*batchv1.CronJob](prefix, "cronjobs", o)...)
	return kindOf("cronjobs", workload[*batchv1.CronJob]("cronjob"), families)
}

// nextRun is the first time of the schedule after the last run, or after the cron job was made.
func nextRun(j *batchv1.CronJob) *metav1.Time {
	if j.Spec.Suspend != nil && *j.Spec.Suspend {
		return nil
	}
	text := j.Spec.Schedule
	if j.Spec.TimeZone != nil {
		text = "CRON_TZ=" + *j.Spec.TimeZone + " " + text
	}
	schedule, err := parseSchedule(text)
	if err != nil {
		return nil
	}
	from := j.CreationTimestamp.Time
	if !j.Status.LastScheduleTime.IsZero() {
		from = j.Status.LastScheduleTime.Time
	}
	if from.IsZero() {
		return nil
	}
	return &metav1.Time{Time: schedule.Next(from).Truncate(time.Second)}
}

// parseSchedule reads five fields or a word such as @hourly, and takes a panic of the library for an error.
func parseSchedule(text string) (schedule cron.Schedule, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("read the schedule %q: %v", text, r)
		}
	}()
	return cron.ParseStandard(text)
}
