// SPDX-License-Identifier: Apache-2.0
public import PageModel

/// What says which pages of a guest were written. A new kind of log is one file that conforms to this.
///
/// Two ways of using it, at once:
/// - ``sync(into:)`` says what is dirty, for all of memory: the engine decides by it what comes next.
/// - ``rearm(block:spans:)`` forgets what was written in one stripe, just before the engine reads it: what is
///   written from then on counts as dirty again.
///
/// A page that was written must not get lost between the two: from its write on, until the first `rearm` of its stripe
/// that begins after it, the next `sync` or that `rearm` reports it. A log that can only fetch and clear at once
/// (KVM's without manual protection) clears in `sync`, and its `rearm` reports nothing: the engine keeps what it was
/// told. A log may report more pages than were written, never fewer.
///
/// What exists: ``DirtyTracking`` makes logs for memory of this process, ``BitmapDirtyLog`` is for who has a log of his
/// own (KVM's).
public protocol DirtyLog: AnyObject, Sendable {
  /// How it works, for reports: `userfaultfd, asynchronous`.
  var method: String { get }

  /// Begins: every write after the return is noted. The guest runs. May be called again after ``stop()``.
  func start() throws(GuestMemoryError)

  /// Adds every page that is dirty to the maps, one per block.
  func sync(into pending: [SpanMap]) throws(GuestMemoryError)

  /// Forgets what was written in `spans`, and returns it. Called from many lanes at once, each for its own stripes.
  /// - Parameter spans: at most a stripe, within one stripe.
  /// - Returns: the pages that were written, the first span of `spans` first; the rest is zero.
  func rearm(block: Int, spans: Range<Int>) throws(GuestMemoryError) -> StripeMasks

  /// What was written in `spans` since their last rearm, without forgetting it: the next ``sync(into:)`` or
  /// ``rearm(block:spans:)`` says it again. For who watches how fast a guest writes, before and while it moves. Any
  /// thread, also while lanes rearm: a stripe that is being rearmed is reported as it was before or after that.
  /// - Parameter spans: at most a stripe, within one stripe.
  /// - Returns: the pages, the first span of `spans` first; nil if the log cannot look without forgetting.
  func peek(block: Int, spans: Range<Int>) throws(GuestMemoryError) -> StripeMasks?

  /// Pages of a block that may hold something other than zeros, or nil if the log does not know. Asked once, after
  /// ``start()``; pages written since may be missing.
  func populatedPages(block: Int) -> SpanMap?

  /// Ends; the guest may run on at full speed. May be called when it was never started, and twice; no `sync` or
  /// `rearm` is under way, and none comes before the next ``start()``.
  func stop()
}

extension DirtyLog {
  public func peek(block: Int, spans: Range<Int>) throws(GuestMemoryError) -> StripeMasks? { nil }
  public func populatedPages(block: Int) -> SpanMap? { nil }
}

/// The pages of each span of a stripe.
public typealias StripeMasks = InlineArray<8, PageMask>
