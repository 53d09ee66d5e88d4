package session

import (
	"context"
	"os"
	"time"

	"go.temporal.io/api/workflowservice/v1"

	"durable-dataload/activities"
	"durable-dataload/internal/config"
	"durable-dataload/internal/engine"
	"durable-dataload/internal/gate"
	"durable-dataload/internal/migration"
	"durable-dataload/workflows"
)

// runLimiters runs a worker for the limiters of targets in this process.
func (s *Service) runLimiters(namespace string) error {
	s.limiters = workflows.NewLimiterWorker(s.Client, namespace)
	if err := s.limiters.Start(); err != nil {
		return err
	}
	if s.engine == nil {
		return nil
	}
	// In a container a process may have the id of the dead one; then its leases end by themselves.
	if before := s.engine.Before(); before != 0 && before != os.Getpid() {
		go s.revoke(config.IdentityOf(before))
	}
	return nil
}

// revoke gives the leases of a process that is dead back to its limiters: it ran the
// engine that this process has taken over. What it misses ends by itself (see
// limiter.Lease).
func (s *Service) revoke(process string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	open, err := s.Client.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		Namespace: engine.Namespace, Query: `WorkflowType = "LimiterWorkflow" AND ExecutionStatus = "Running"`,
	})
	for _, e := range open.GetExecutions() {
		host, isLimiter := workflows.LimitedHost(e.GetExecution().GetWorkflowId())
		if err == nil && isLimiter {
			err = workflows.NewLimiterClient(s.Client, host).Revoke(ctx, process)
		}
	}
	if err != nil {
		s.process.Log.Warn("the leases of the process that ran the engine before were not revoked", "error", err.Error())
	}
}

// Limiters gives the limiter of each target: that of the service, if any process works for
// it. Else, and without a service (nil), the limits hold in this process.
func (s *Service) Limiters(ctx context.Context) func(migration.Target) activities.Limiter {
	ctx, cancel := context.WithTimeout(ctx, AnswerTimeout)
	defer cancel()
	if s == nil || s.limiters == nil && !s.IsEmbedded() && s.PolledBy(ctx, workflows.LimiterQueue) == "" {
		return func(migration.Target) activities.Limiter { return new(gate.Local) }
	}
	return workflows.Limiters(s.Client)
}
