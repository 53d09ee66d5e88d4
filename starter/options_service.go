package main

import (
	"github.com/spf13/pflag"

	"durable-dataload/internal/config"
	"durable-dataload/workflows"
)

// serviceOptions say which Temporal service is used, and which workers.
type serviceOptions struct {
	temporal   config.Temporal
	taskQueue  string
	withWorker bool
}

func (o *serviceOptions) addFlags(f *pflag.FlagSet) {
	o.temporal.AddFlags(f)
	f.BoolVar(&o.withWorker, "with-worker", false, "run a worker in this process also with --address")
	f.StringVar(&o.taskQueue, "task-queue", workflows.TaskQueue, "task queue that the workers of --address poll")
}
