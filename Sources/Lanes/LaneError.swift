// SPDX-License-Identifier: Apache-2.0
public import GuestMemory
public import PageCodecs
public import PageKernels
public import SystemPackage
public import Transport
public import Wire

/// Why a pipeline stopped. Channels are numbered from 1, as on the wire.
public enum LaneError: Error, Equatable, CustomStringConvertible {
  case memory(GuestMemoryError)
  case codec(CodecError)
  case codecNotAgreed(channel: Int, tag: UInt8)
  case laneElsewhere(channel: Int, lane: Int)
  case laneMovedNowhere(channel: Int, lane: Int, target: Int)
  case transport(channel: Int, TransportError)
  case wire(channel: Int, WireError)
  case badDelta(channel: Int, Delta.Fault)
  case noBuffers(Errno)

  public var description: String {
    switch self {
    case .memory(let error): error.description
    case .codec(let error): error.description
    case .codecNotAgreed(let channel, let tag): "data channel \(channel): a frame uses codec \(tag), never agreed on"
    case .laneElsewhere(let channel, let lane):
      "data channel \(channel): a frame is of lane \(lane), which feeds another channel or none"
    case .laneMovedNowhere(let channel, let lane, let target):
      "data channel \(channel): lane \(lane) cannot move to channel \(target)"
    case .transport(let channel, let error): "data channel \(channel): \(error)"
    case .wire(let channel, let error): "data channel \(channel): \(error)"
    case .badDelta(let channel, let fault): "data channel \(channel): a delta is damaged: \(fault)"
    case .noBuffers(let errno): "cannot allocate frame buffers: \(errno)"
    }
  }
}
