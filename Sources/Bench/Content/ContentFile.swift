// SPDX-License-Identifier: Apache-2.0
public import GuestMemory
public import PageModel
public import Workload

/// Makes a raw RAM image with known content.
public enum ContentFile {
  /// Writes `path`: runs of zeros are holes, and it gets its name when it is complete.
  /// - Parameters:
  ///   - blocks: of the image, one after the other.
  ///   - replace: take the place of a file that exists.
  /// - Returns: bytes that are not holes; nil if it was cancelled, and then there is no file.
  public static func make(
    path: String, blocks: BlockTable, content: WorkloadContent, replace: Bool,
    isCancelled: @escaping @Sendable () -> Bool
  ) throws(GuestMemoryError) -> UInt64? {
    let image = try ImageDestination(
      path: path, map: try MemoryMap(consecutive: blocks.blocks), options: .init(replaceExisting: replace))
    do throws(GuestMemoryError) {
      guard try ContentWriter.fill(image, with: content, isCancelled: isCancelled) else {
        image.discard()
        return nil
      }
      try image.prepareToComplete()
      try image.complete()
    } catch {
      image.discard()
      throw error
    }
    return image.writtenByteCount
  }
}
