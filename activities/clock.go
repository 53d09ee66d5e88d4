package activities

import (
	"os"
	"time"

	"durable-dataload/internal/evidence"
	"durable-dataload/internal/identitycloud"
	"durable-dataload/internal/ledger"
)

// updatedAfter reports whether a record was last updated after a time of ours that is
// known to the second.
func (c *core) updatedAfter(entity *identitycloud.Entity, t time.Time) bool {
	return entity.LastUpdated.Earliest.After(c.clock.Latest(t.Add(time.Second)))
}

// newClaim is a claim by this process, now.
func (c *core) newClaim() ledger.Claim {
	return ledger.Claim{At: time.Now().UTC(), Clock: evidence.ThisClock(), Process: os.Getpid(), Date: c.clock.Skew()}
}

// dated is a claim with the present knowledge of the Date header's clock, if the claim
// is by this process's clock: by now that is known better than when it was made.
func (c *core) dated(claim ledger.Claim) ledger.Claim {
	if claim.Clock == evidence.ThisClock() {
		claim.Date = c.clock.Skew()
	}
	return claim
}
