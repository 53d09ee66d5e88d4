package activities

import (
	"errors"

	"durable-dataload/internal/identitycloud"
	"durable-dataload/internal/ledger"
)

// judge says what an answer means for the records at positions, of which those
// at sent were sent.
func (l *loading) judge(positions, sent []int, answer identitycloud.Answer) ledger.Outcomes {
	outcomes := l.refusedHere(positions)
	reason := answer.Reason
	verdict := answer.Verdict
	switch {
	case answer.Fault != nil:
		verdict = identitycloud.Unknown // it is not the records' fault: they are sent again in the next round
	case verdict == identitycloud.TooLarge && len(sent) == 1 && !answer.NothingWritten:
		verdict = identitycloud.Unknown // one record cannot be halved, and it may have been written
	}
	switch verdict {
	case identitycloud.Answered:
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
			for _, i := range sent {
				outcomes.Unknown(i, reason)
			}
		case len(sent) > 1:
			split := ledger.NewOutcomes(l.batch.Records)
			if !answer.NothingWritten {
				for _, i := range sent {
					split.Halved(i)
				}
			}
			for _, i := range lost {
				split.Unknown(i, reason)
			}
			o := split.Outcomes(true, reason)
			o.Split = true
			return o
		default:
			outcomes.Failed(sent[0], "the target refuses the record as too large: "+answer.Words())
			outcomes.Classify(sent[0], reason)
		}
	default: // also NotSent: the claim is used up
		for _, i := range sent {
			outcomes.Unknown(i, reason)
		}
	}
	o := outcomes.Outcomes(answer.Verdict != identitycloud.NotSent, reason)
	o.Unwritten = answer.NothingWritten
	return o
}

// lostAsTooLarge are the keyless records of a call that was refused as too large,
// where it may have been written all the same: the target would not refuse them
// in a half of it.
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

// mostIsolated is how many refused calls of a batch are halved: one bad record
// among a thousand takes ten. A batch that is bad all over costs at most twice
// as many calls and one, and what is left in one call then fails together.
const mostIsolated = 32

// mayIsolate says whether the guilty record of a call that was refused as a
// whole is looked for: the API itself says that nothing of the call was written,
// so its halves can be sent, keyless records too. Not if the refusal is of the call itself.
func (l *loading) mayIsolate(sent int, answer identitycloud.Answer) bool {
	var api *identitycloud.APIError
	return l.spec.Isolate && sent > 1 && l.isolated < mostIsolated && errors.As(answer.Err, &api) && !api.IsAboutCall()
}

// refusedHere has the records that cannot be sent as failed.
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

// unknown has all records unknown that may have been sent.
func (l *loading) unknown(positions []int, reason string) ledger.Outcomes {
	outcomes := l.refusedHere(positions)
	for _, i := range positions {
		if l.encoded == nil || l.encoded[i].reason == "" {
			outcomes.Unknown(i, reason)
		}
	}
	return outcomes.Outcomes(true, reason)
}
