// Truth in Pascal VOC's files: one XML a picture.
//
//   Annotations/*.xml, or *.xml in the folder itself
//     <annotation><filename/><size><width/><height/></size>
//       <object><name/><difficult/><bndbox><xmin/><ymin/><xmax/><ymax/></bndbox></object>...
//   JPEGImages/ or images/   the pictures, by <filename> or by the name of the XML
//   ImageSets/Main/SPLIT.txt  names of pictures, one a line
//   classes.txt               class names, one a line: class 0 first; without it ours, by the alphabet
//
// Corners count pixels from 1 and are part of the box, so its left edge is at xmin - 1 px and it is
// xmax - xmin + 1 px wide. An object marked difficult need not be found, and a box that finds it is not
// wrong (TrueBox::ignored). Parts of objects (<part>) are not looked at.
// Source: Everingham et al., "The PASCAL Visual Object Classes Challenge 2012 Development Kit".
// Threads: reentrant.
#pragma once

#include <string>

#include "base/status.h"
#include "evaluate/labelled_pictures.h"

namespace sightline::evaluate {

// Whether the folder holds such files.
bool LooksLikeVoc(const std::string& folder);

// Errors: as of ReadLabelledPictures. A picture that is not there is no error: only its size is asked
// for, where the XML does not say it.
absl::StatusOr<LabelledPictures> ReadVocTruth(const std::string& folder, const std::string& split,
                                              const PictureAccess& access);

}  // namespace sightline::evaluate
