package activities

import (
	"errors"

	"durable-dataload/internal/ledger"
	"durable-dataload/internal/target"
)

// judge says what an answer means for the records at positions, of which those in sent
// were sent: see the table at target.Answer.
func (l *loading) judge(positions, sent []int, answer target.Answer) ledger.Outcomes {
	outcomes := l.refusedHere(positions)
	reason := answer.Reason()
	var failed *target.Error
	split := false
	switch isError := errors.As(answer.Err, &failed); {
	case answer.Err == nil:
		reason, split = judgeRecords(outcomes, sent, answer.Results)
	case !isError: // the claim is used up
		if isRunOver(answer.Err) {
			reason = errRunOver.Error()
		}
		markUnknown(outcomes, sent, reason)
	case failed.Fault: // the call is at fault, not the records: the next round sends them again
		markUnknown(outcomes, sent, reason)
	case failed.Class == target.TooLarge:
		lost := l.lostAsTooLarge(sent, answer)
		switch {
		case len(lost) == len(sent), len(sent) == 1 && !answer.NothingWritten: // one record cannot be halved, and it may have been written
			markUnknown(outcomes, sent, reason)
		case len(sent) > 1:
			return l.halved(sent, lost, answer)
		default:
			outcomes.Failed(sent[0], "the target refuses the record as too large: "+answer.Words())
			outcomes.Classify(sent[0], reason)
		}
	case failed.Class.IsFinal():
		if l.mayIsolate(len(sent)) {
			l.isolated++
			return ledger.Outcomes{Split: true, Sent: true, Reason: reason}
		}
		for _, i := range sent {
			outcomes.Failed(i, answer.Words())
			outcomes.Classify(i, reason)
		}
	default:
		markUnknown(outcomes, sent, reason)
	}
	o := outcomes.Outcomes(answer.Err == nil || failed != nil, reason)
	o.Split, o.Unwritten = split, answer.NothingWritten
	return o
}

// judgeRecords judges an answer for each record, and returns the reason of those that are
// unknown. Records that were not written, and with which nothing is wrong, are left for a
// call of their own: then the call is split.
func judgeRecords(outcomes *ledger.Builder, sent []int, results []target.Result) (reason string, split bool) {
	for n, i := range sent {
		r := results[n]
		switch {
		case r.Err == nil:
			outcomes.Created(i, r.ID)
		case r.Err.Class == target.Duplicate:
			outcomes.Duplicate(i, r.Err.Text())
		case r.Err.Class.IsFinal():
			outcomes.Failed(i, r.Err.Text())
			outcomes.Classify(i, r.Err.Reason)
		case r.Err.Class == target.Unwritten && len(sent) > 1:
			split = true
		default:
			reason = r.Err.Reason
			outcomes.Unknown(i, reason)
		}
	}
	return reason, split
}

func markUnknown(outcomes *ledger.Builder, positions []int, reason string) {
	for _, i := range positions {
		outcomes.Unknown(i, reason)
	}
}

// halved sends a call that was too large again in halves, without the records that are
// lost.
func (l *loading) halved(sent, lost []int, answer target.Answer) ledger.Outcomes {
	split := ledger.NewOutcomes(l.batch.Records)
	if !answer.NothingWritten {
		for _, i := range sent {
			split.Halved(i)
		}
	}
	markUnknown(split, lost, answer.Reason())
	o := split.Outcomes(true, answer.Reason())
	o.Split = true
	return o
}

// lostAsTooLarge are the keyless records of a call that was refused as too large but may
// have been written: sent again in a half of it, they would not be refused.
func (l *loading) lostAsTooLarge(sent []int, answer target.Answer) (lost []int) {
	if answer.NothingWritten {
		return nil
	}
	for _, i := range sent {
		if l.keyless(i) {
			lost = append(lost, i)
		}
	}
	return lost
}

// mostIsolated is how many refused calls of a batch are halved: one bad record among a
// thousand takes ten. A batch of bad records costs at most twice as many calls plus one;
// what is then left in one call fails together.
const mostIsolated = 32

// mayIsolate reports whether a call that was refused as a whole is halved to find the bad
// record. The target itself says that nothing was written, so the halves can be sent,
// keyless records too. Where one bad record refuses the whole call, there is no limit.
func (l *loading) mayIsolate(sent int) bool {
	return sent > 1 && (l.traits.RefusesTogether || l.spec.Isolate && l.isolated < mostIsolated)
}

// cannotBeSent is the class of the records that fail without a call.
const cannotBeSent = "cannot be sent"

// refusedHere fails the records that cannot be sent.
func (l *loading) refusedHere(positions []int) *ledger.Builder {
	outcomes := ledger.NewOutcomes(l.batch.Records)
	for _, i := range positions {
		if l.encoded != nil && l.encoded[i].reason != "" {
			outcomes.FailedHere(i, l.encoded[i].reason)
			outcomes.Classify(i, cannotBeSent)
		}
	}
	return outcomes
}

// unknown makes all records unknown that may have been sent.
func (l *loading) unknown(positions []int, reason string) ledger.Outcomes {
	outcomes := l.refusedHere(positions)
	for _, i := range positions {
		if l.encoded == nil || l.encoded[i].reason == "" {
			outcomes.Unknown(i, reason)
		}
	}
	return outcomes.Outcomes(true, reason)
}
