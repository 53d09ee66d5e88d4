// Package target says what a platform must be able to do so that users can be migrated to it, and how it differs from
// others. An adapter implements Adapter for one platform; conformance.Run is the judge of it. Outside of an adapter nothing
// knows statuses, codes, endpoints or attributes of a platform: only classes of errors (Class) and Traits.
//
// An adapter has no Temporal, no ledger and no pace in it. What is not known it never reports as known: see Answer.
//
// # Records
//
// The mapping makes a JSON object of a record of the input, in the form in which Entity.Attributes shows it again, so that
// both can be compared. The attribute password is common to all targets: plain text, or the object that the mapping makes of
// a hash, {"type": "password-bcrypt", "value": "$2b$…"}; Encode translates it, or refuses what cannot travel.
//
// # Whose is a record
//
// A duplicate is ours if its Mark is that of our record: a tag that nobody else has (NewTag), or an id that the input
// gives, where Traits.Marks. An id of the input proves less: an earlier migration of the same input has it as well, so the
// other migrations of the work place are asked in any case. Without marks, package evidence compares content and time; where
// the target shows no time (Traits.ShowsCreated) nothing without a mark is ever ours.
//
// A record may be sent again after a lost answer if the target would then refuse it: by a unique attribute or, with
// Traits.RefusesMark, whatever it has.
//
// # Switching over
//
// Until the activities use this package they call the client of the Identity Cloud. What becomes what:
//
//	identitycloud                             target
//	Config.BeforeCall, Answered, Judged       Hooks, given to the adapter's constructor by Connect
//	pace.Outcome of an endpoint and Answer    the fields of Call, one for one; Kind Checks reports no Fault
//	ErrCredentials, ErrEntityType (final)     Is(err, Unusable)
//	the four errors that stop a probe         IsFault(err)
//	NewBody, CreateBatch                      Encode when the batch is read, with NewTag of the record's number in the
//	                                          input; Create
//	Answer.Verdict                            the table at Answer; NotSent is an Err that is no *Error
//	RecordAnswer: UUID, Err, Unknown          Result: ID, Err by its class; Unwritten stays None in an entry with Split, and
//	                                          becomes unknown in a call of one record
//	--isolate, APIError.IsAboutCall           --isolate or Traits.RefusesTogether, for a final class but TooLarge and no Fault
//	keyless                                   keyless unless Traits.RefusesMark
//	EntityType                                Schema; a final class or Forbidden is "the target does not tell"
//	FindEntities, "uuid"                      Find, ByID; keysACall is Traits.FindKeys
//	FindWritten, the id of the last record    List, its cursor; pageSize is Traits.MaxPage, and a page is the last one when next
//	                                          is ""; without Traits.ListsSince the view has all records, which pays
//	                                          where the keys divided by FindKeys are more calls than Count by MaxPage
//	View, Ref.LastUpdated, LastUpdatedText    Get, Ref.Version, Entity.Version
//	delta.Calls, Update, Replace              Steps (which may fail with Refused: the record has failed), Apply
//	refusalOf, isGone, isMismatch             Refusal, Is(err, NotFound), Is(err, Conflict)
//	APIError.IsPermission                     Is(err, Forbidden)
//	unreachable                               any *Error that is no Refusal; the advice depends on Fault and Forbidden
//	FoldKey, SystemAttributes, DefaultKey     Traits.Fold, System, DefaultKey
//	Room, MaxBody, EncodedSize                Traits.MaxBytes, MaxBytes+Overhead, Record.Size; all tags have one length
//	"password" in delta and verify            Traits.Hidden as well: never compared, always sent by an update
//	evidence.Question                         the Mark of the record: with Traits.Marks an equal one is Ours unless the id
//	                                          has another owner, and any other is Others; else as before
package target
