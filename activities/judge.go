package activities

import (
	"errors"

	"durable-dataload/internal/identitycloud"
	"durable-dataload/internal/ledger"
)

// judge says what an answer means for the records at positions, of which those in sent
// were sent.
func (l *loading) judge(positions, sent []int, answer identitycloud.Answer) ledger.Outcomes {
	outcomes := l.refusedHere(positions)
	reason, verdict := answer.Reason, answer.Verdict
	switch {
	case answer.Fault != nil:
		verdict = identitycloud.Unknown // the call is at fault, not the records: the next round sends them again
	case verdict == identitycloud.TooLarge && len(sent) == 1 && !answer.NothingWritten:
		verdict = identitycloud.Unknown // one record cannot be halved, and it may have been written
	}
	switch verdict {
	case identitycloud.Answered:
		reason = judgeRecords(outcomes, sent, answer)
	case identitycloud.Refused:
		if l.mayIsolate(len(sent), answer) {
			l.isolated++
			return ledger.Outcomes{Split: true, Sent: true, Reason: reason}
		}
		for _, i := range sent {
			outcomes.Failed(i, answer.Words())
			outcomes.Classify(i, reason)
		}
	case identitycloud.TooLarge:
		lost := l.lostAsTooLarge(sent, answer)
		switch {
		case len(lost) == len(sent):
			markUnknown(outcomes, sent, reason)
		case len(sent) > 1:
			return l.halved(sent, lost, answer)
		default:
			outcomes.Failed(sent[0], "the target refuses the record as too large: "+answer.Words())
			outcomes.Classify(sent[0], reason)
		}
	default: // also NotSent: the claim is used up
		markUnknown(outcomes, sent, reason)
	}
	o := outcomes.Outcomes(answer.Verdict != identitycloud.NotSent, reason)
	o.Unwritten = answer.NothingWritten
	return o
}

// judgeRecords judges an answer for each record, and returns the reason of those that are
// unknown.
func judgeRecords(outcomes *ledger.Builder, sent []int, answer identitycloud.Answer) (reason string) {
	reason = answer.Reason
	for n, i := range sent {
		switch r := answer.Records[n]; {
		case r.UUID != "":
			outcomes.Created(i, r.UUID)
		case r.Err != nil && r.Err.IsDuplicate():
			outcomes.Duplicate(i, r.Err.Words())
		case r.Err != nil:
			outcomes.Failed(i, r.Err.Words())
			outcomes.Classify(i, r.Err.Reason())
		default:
			reason = r.Unknown
			outcomes.Unknown(i, reason)
		}
	}
	return reason
}

func markUnknown(outcomes *ledger.Builder, positions []int, reason string) {
	for _, i := range positions {
		outcomes.Unknown(i, reason)
	}
}

// halved sends a call that was too large again in halves, without the records that are
// lost.
func (l *loading) halved(sent, lost []int, answer identitycloud.Answer) ledger.Outcomes {
	split := ledger.NewOutcomes(l.batch.Records)
	if !answer.NothingWritten {
		for _, i := range sent {
			split.Halved(i)
		}
	}
	markUnknown(split, lost, answer.Reason)
	o := split.Outcomes(true, answer.Reason)
	o.Split = true
	return o
}

// lostAsTooLarge are the keyless records of a call that was refused as too large but may
// have been written: sent again in a half of it, they would not be refused.
func (l *loading) lostAsTooLarge(sent []int, answer identitycloud.Answer) (lost []int) {
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
// record. The API itself says that nothing was written, so the halves can be sent,
// keyless records too; but not if the refusal is about the call itself.
func (l *loading) mayIsolate(sent int, answer identitycloud.Answer) bool {
	var api *identitycloud.APIError
	return l.spec.Isolate && sent > 1 && l.isolated < mostIsolated && errors.As(answer.Err, &api) && !api.IsAboutCall()
}

// cannotBeSent is the class of the records that fail without a call.
const cannotBeSent = "cannot be sent"

// refusedHere fails the records that cannot be sent.
func (l *loading) refusedHere(positions []int) *ledger.Builder {
	outcomes := ledger.NewOutcomes(l.batch.Records)
	for _, i := range positions {
		if l.encoded != nil && l.encoded[i].reason != "" {
			outcomes.Failed(i, l.encoded[i].reason)
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
