"""What becomes of an attribute: PS3.15 table E.1-1, column of the Basic Profile, as data.

Where the table leaves a choice that depends on the information object (X/Z, X/D, Z/D ...), the one is taken that is
valid in all of them: a replacement where an attribute may be required, else removal. Stricter than the table: all free
text (LT, ST, UT), addresses of things on the net (UR, AE), and attributes that the dictionary does not know are
removed, and so is what is stored with a VR that the attribute cannot have. Dates, times and UIDs go by their VR, so
that none is forgotten.
"""

from __future__ import annotations

from enum import Enum, auto
from functools import lru_cache
from typing import Final

from microtome.dicom import dictionary

EDITION: Final = "2026c/1"
"""Of the table, and of what is made of it here: another one makes another view."""


class Action(Enum):
    """What is done to an element."""

    KEEP = auto()
    REMOVE = auto()
    EMPTY = auto()
    UID = auto()
    MOMENT = auto()
    """Moved by the offset of the patient."""
    PSEUDONYM = auto()
    PATIENT = auto()
    """The pseudonym of the patient."""
    ITEMS = auto()
    """A sequence that stays: each item by itself."""
    PROFILE = auto()
    """An ICC profile, whose texts are taken out."""


_REMOVED_TEXT: Final = """
    AcquisitionDeviceProcessingDescription AdmissionID AdmittingDiagnosesDescription Allergies BranchOfService
    CassetteID ChannelDerivationDescription ChannelLabel ClinicalTrialProtocolEthicsCommitteeApprovalNumber
    ClinicalTrialSeriesDescription ClinicalTrialSeriesID ConfidentialityConstraintOnPatientDataDescription
    ContainerComponentID ContainerDescription CountryOfResidence CurrentPatientLocation DeviceDescription
    DischargeDiagnosisDescription DisplacementReferenceLabel DistributionAddress DoseReferenceDescription EntityName
    EthnicGroup FractionGroupDescription GantryID GeneratorID HardcopyCreationDeviceID HumanPerformerOrganization
    InstanceOriginStatus InstitutionalDepartmentName InstitutionName InsurancePlanIdentification InterpretationID
    InterpretationIDIssuer IssuerOfAdmissionID IssuerOfClinicalTrialProtocolID IssuerOfClinicalTrialSeriesID
    IssuerOfClinicalTrialSiteID IssuerOfClinicalTrialSubjectID IssuerOfClinicalTrialSubjectReadingID
    IssuerOfClinicalTrialTimePointID IssuerOfPatientID IssuerOfServiceEpisodeID MedicalAlerts MedicalRecordLocator
    MilitaryRank ModifiedImageDescription ModifyingDeviceID MultiplexGroupLabel Occupation OrderCallbackPhoneNumber
    OrderEntererLocation OtherPatientIDs OtherStudyNumbers PatientAddress PatientAge PatientInstitutionResidence
    PatientReligiousPreference PatientSexNeutered PatientSize PatientState PatientTelephoneNumbers
    PatientTransportArrangements PatientWeight PerformedLocation PerformedProcedureStepDescription
    PerformedProcedureStepID PerformedStationName PersonTelephoneNumbers PlateID PositionAcquisitionTemplateName
    PreMedication PregnancyStatus PyramidDescription PyramidLabel ReasonForTheAttributeModification RTPlanName
    RTTreatmentApproachLabel
    ReasonForOmissionDescription ReasonForStudy ReasonForTheImagingServiceRequest ReasonForTheRequestedProcedure
    ReferringPhysicianTelephoneNumbers RegionOfResidence RequestedContrastAgent RequestedProcedureDescription
    RequestedProcedureID RequestedProcedureLocation RequestedSeriesDescription RequestingService
    ResponsibleOrganization ResultsID ResultsIDIssuer ROIGenerationDescription ROIObservationLabel
    ScheduledPatientInstitutionResidence ScheduledProcedureStepDescription ScheduledProcedureStepID
    ScheduledProcedureStepLocation ScheduledStationName ScheduledStudyLocation SecondaryCaptureDeviceID
    SeriesDescription ServiceEpisodeDescription ServiceEpisodeID SlideIdentifier SmokingStatus SourceManufacturer
    SourceSerialNumber SpecialNeeds SpecimenAccessionNumber SpecimenShortDescription StationName StructureSetName
    StudyDescription StudyIDIssuer TelephoneNumberTrial TextString TimezoneOffsetFromUTC TopicAuthor TopicKeywords
    TopicTitle TreatmentMachineName TreatmentSite TreatmentSites
"""
_REMOVED_SEQUENCES: Final = """
    ActualHumanPerformersSequence AdmittingDiagnosesCodeSequence AuthorObserverSequence
    ConsultingPhysicianIdentificationSequence ContentCreatorIdentificationCodeSequence ContentSequence
    CustodialOrganizationSequence DigitalSignaturesSequence EncryptedAttributesSequence EthnicGroupCodeSequence
    FlowIdentifierSequence GraphicAnnotationSequence IconImageSequence InstitutionalDepartmentTypeCodeSequence
    InstitutionCodeSequence IntendedRecipientsOfResultsIdentificationSequence InterpretationApproverSequence
    IssuerOfAdmissionIDSequence IssuerOfPatientIDQualifiersSequence IssuerOfServiceEpisodeIDSequence
    MACParametersSequence
    ModifiedAttributesSequence NonconformingModifiedAttributesSequence OperatorIdentificationSequence
    OriginalAttributesSequence OtherClinicalTrialProtocolIDsSequence OtherPatientIDsSequence ParticipantSequence
    PatientInsurancePlanCodeSequence PatientPrimaryLanguageCodeSequence PatientPrimaryLanguageModifierCodeSequence
    PerformedStationGeographicLocationCodeSequence PerformedStationNameCodeSequence
    PerformingPhysicianIdentificationSequence PersonIdentificationCodeSequence
    PhysiciansReadingStudyIdentificationSequence PhysiciansOfRecordIdentificationSequence
    ReasonForRequestedProcedureCodeSequence ReasonForVisitCodeSequence ReferencedDigitalSignatureSequence
    ReferencedPatientAliasSequence ReferencedPatientPhotoSequence ReferencedPatientSequence
    ReferencedSOPInstanceMACSequence ReferringPhysicianIdentificationSequence RequestAttributesSequence
    ResultsDistributionListSequence ROICreatorSequence ROIInterpreterSequence ScheduledHumanPerformersSequence
    ScheduledPerformingPhysicianIdentificationSequence ScheduledStationGeographicLocationCodeSequence
    ScheduledStationNameCodeSequence TransducerIdentificationSequence UDISequence
    VerbalSourceIdentifierCodeSequenceTrial VerifyingObserverSequence WaveformAnnotationSequence
    StrainStockSequence
"""
_REMOVED_BINARY: Final = """
    CertificateOfSigner CertifiedTimestamp DataSetTrailingPadding DeviceSettingDescription EncapsulatedDocument
    FlowIdentifier FrameOriginTimestamp MAC Signature MakerNote NonconformingDataElementValue SourceIdentifier
    SelectorASValue SelectorLOValue SelectorOBValue SelectorSHValue SelectorUNValue SelectorCSValue SelectorDSValue
    SelectorISValue ExtendedOffsetTable ExtendedOffsetTableLengths
"""
_EMPTIED: Final = """
    AcquisitionContextSequence ClinicalTrialCoordinatingCenterName ClinicalTrialProtocolName ClinicalTrialSiteID
    ClinicalTrialSiteName ClinicalTrialTimePointID ConceptualVolumeCombinationDescription
    ConceptualVolumeDescription ConsultingPhysicianName
    ContentCreatorName ContrastBolusAgent DeviceAlternateIdentifier FillerOrderNumberImagingServiceRequest
    FractionationNotes ManufacturerDeviceIdentifier PrescriptionNotes RTPhysicianIntentNarrative
    RadiationGenerationModeDescription ReasonForSuperseding TreatmentTechniqueNotes
    IssuerOfTheContainerIdentifierSequence IssuerOfTheSpecimenIdentifierSequence PatientBirthDate PatientSex
    PlacerOrderNumberImagingServiceRequest PrescriptionNotesSequence ReferencedPerformedProcedureStepSequence
    ReferencedStudySequence ReferringPhysicianName ReviewerName ROIInterpreter ROIName RTAccessoryDeviceSlotID
    RTAccessoryHolderSlotID SourceOfPreviousValues SpecimenPreparationSequence
    VerifyingObserverIdentificationCodeSequence ContentDescription BarcodeValue
"""
_PSEUDONYMS: Final = """
    AccessionNumber AcquisitionFieldOfViewLabel AnnotationGroupLabel ClinicalTrialProtocolEthicsCommitteeName
    ClinicalTrialProtocolID ClinicalTrialSponsorName ClinicalTrialSubjectID ClinicalTrialSubjectReadingID
    ContainerIdentifier DetectorID DeviceLabel DeviceSerialNumber EntityLabel EntityLongLabel ModifyingSystem
    ProtocolName RadiationDoseIdentificationLabel RadiationDoseInVivoMeasurementLabel RadiationGenerationModeLabel
    RTPlanLabel RTPrescriptionLabel RTToleranceSetLabel SpecimenIdentifier StructureSetLabel StudyID
    TreatmentPositionGroupLabel UserContentLabel UserContentLongLabel VerifyingOrganization XRayDetectorID XRaySourceID
"""
_PATIENT: Final = "PatientID PatientName"
_KINDS_OF_UID: Final = """
    SOPClassUID ReferencedSOPClassUID SOPClassesInStudy RelatedGeneralSOPClassUID OriginalSpecializedSOPClassUID
    AvailableTransferSyntaxUID EncryptedContentTransferSyntaxUID CodingSchemeUID MappingResourceUID ContextUID
    SOPClassesSupported
"""
"""UIDs of kinds of things, not of things: those of vendors are no more telling than the maker's name."""
_BY_VR: Final = {
    "UI": Action.UID, "DA": Action.MOMENT, "TM": Action.MOMENT, "DT": Action.MOMENT, "SQ": Action.ITEMS,
    "PN": Action.REMOVE, "AE": Action.REMOVE, "UR": Action.REMOVE, "LT": Action.REMOVE, "ST": Action.REMOVE,
    "UT": Action.REMOVE, "UN": Action.REMOVE,
}  # fmt: skip
_ALIKE: Final = (
    frozenset({"US", "SS", "UL", "SL"}), frozenset({"OB", "OW"}), frozenset({"DS", "IS"}), frozenset({"FL", "FD"}),
    frozenset({"CS", "SH", "LO"}),
)  # fmt: skip
"""VRs that writers take for each other."""
_OF_CAMERAS: Final = 0x0016
_OVERLAYS: Final = range(0x6000, 0x6100)
_CURVES: Final = range(0x5000, 0x5100)
_ICC_PROFILE: Final = 0x0028_2000
_BIRTH_TIMES: Final = "PatientBirthTime PatientBirthDateInAlternativeCalendar PatientDeathDateInAlternativeCalendar"


@lru_cache(maxsize=1 << 14)
def action_of(tag: int, vr: str) -> Action:
    """What becomes of an element; ``vr`` is the one it is stored with."""
    group = tag >> 16
    if dictionary.is_private(tag) or group in _OVERLAYS or group in _CURVES or group == _OF_CAMERAS or group < 8:
        return Action.REMOVE
    known = dictionary.vr(tag).split(" or ")
    if dictionary.UNKNOWN in known or not any(vr == each or _alike(vr, each) for each in known):
        return Action.REMOVE
    if (found := _table().get(tag)) is not None:
        return found
    return _BY_VR.get(vr, Action.KEEP)


@lru_cache(maxsize=1)
def _table() -> dict[int, Action]:
    lists = (
        (_REMOVED_TEXT + _REMOVED_SEQUENCES + _REMOVED_BINARY + _BIRTH_TIMES, Action.REMOVE),
        (_EMPTIED, Action.EMPTY),
        (_PSEUDONYMS, Action.PSEUDONYM),
        (_PATIENT, Action.PATIENT),
        (_KINDS_OF_UID, Action.KEEP),
    )
    found = {tag: action for names, action in lists for name in names.split() if (tag := dictionary.tag(name))}
    return {**found, _ICC_PROFILE: Action.PROFILE}


def _alike(one: str, other: str) -> bool:
    return any(one in each and other in each for each in _ALIKE)
