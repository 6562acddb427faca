// SPDX-License-Identifier: Apache-2.0

extension Array<UInt8> {
  /// Calls `body` with the array's bytes as a span.
  public func withRawSpan<Result, Failure: Error>(
    _ body: (RawSpan) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let outcome = unsafe withUnsafeBytes { bytes -> Swift.Result<Result, Failure> in
      do throws(Failure) { return .success(try body(unsafe RawSpan(_unsafeBytes: bytes))) } catch {
        return .failure(error)
      }
    }
    return try outcome.get()
  }

  /// Calls `body` with the array's bytes as a span that can be written.
  public mutating func withMutableRawSpan<Result, Failure: Error>(
    _ body: (inout MutableRawSpan) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let outcome = unsafe withUnsafeMutableBytes { bytes -> Swift.Result<Result, Failure> in
      var span = unsafe MutableRawSpan(_unsafeBytes: bytes)
      do throws(Failure) { return .success(try body(&span)) } catch { return .failure(error) }
    }
    return try outcome.get()
  }
}
